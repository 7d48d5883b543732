//! What NACLIP and ResCLIP add to attention's scores, against their own code.

use crate::golden::{Golden, Tolerance, compare, floats};
use lancet::reference::{NO_TOKEN, gaussian_window};
use lancet::weights::Weights;

/// The original builds its window in f32.
const WINDOW: Tolerance = Tolerance { rel_l2: 1e-6, max_abs: 1e-6 };

/// A bias `[1 + N, R]` without its padding: `[1 + N, 1 + N]`.
fn unpadded(bias: &[f32], tokens: usize) -> Result<Vec<f32>, String> {
    let rows = bias.chunks_exact(tokens.next_multiple_of(4));
    if rows.clone().any(|row| row[tokens..].iter().any(|&v| v != NO_TOKEN)) {
        return Err("padding that attention would see".into());
    }
    Ok(rows.flat_map(|row| row[..tokens].to_vec()).collect())
}

fn windows(file: &Weights) -> Result<(), String> {
    // Names say height x width.
    for (name, grid) in [("7x7", [7, 7]), ("7x10", [10, 7]), ("10x7", [7, 10])] {
        let got = unpadded(&gaussian_window(grid, 5.0), 1 + grid[0] * grid[1])?;
        let want = floats(file, &format!("functions.gaussian_addition.{name}"));
        compare(&format!("Gaussian window {name}"), &got, &want, WINDOW)?;
    }
    Ok(())
}

/// All of it; needs the full folder.
pub fn published(golden: &Golden) -> Result<(), String> {
    let methods = golden.expected("methods");
    windows(&methods)
}
