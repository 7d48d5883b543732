//! One run per line of stdin, for programs that take turns (`tools/bench_peers`).

use anyhow::Result;
use std::io::BufRead;

/// Warms up, says so on stderr, then prints the milliseconds of a run for each line read.
pub fn serve(adapter: &str, mut run: impl FnMut() -> Result<f64>) -> Result<()> {
    run()?;
    eprintln!("lancet: ready on {adapter}");
    for line in std::io::stdin().lock().lines() {
        line?;
        out!("{:.3}", run()?);
    }
    Ok(())
}
