//! Where and when a measurement was made, so that its numbers can be read later.

use lancet::Engine;
use serde::Serialize;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

/// For the head of a JSON.
#[derive(Debug, Serialize)]
pub struct Machine {
    cpu: Option<String>,
    cores: usize,
    system: String,
    adapter: String,
    driver: String,
    backend: String,
    device_type: String,
    /// UTC.
    date: String,
    version: &'static str,
    /// `LANCET_COMMIT`, at run time or when the program was built, else the commit of the working tree it was built in.
    commit: Option<String>,
}

impl Machine {
    /// This one.
    pub fn here(engine: &Engine) -> Machine {
        let caps = engine.caps();
        Machine {
            cpu: cpu(),
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            system: format!("{} {}", std::env::consts::OS, std::env::consts::ARCH),
            adapter: caps.adapter.clone(),
            driver: caps.driver.clone(),
            backend: format!("{:?}", caps.backend),
            device_type: format!("{:?}", caps.device_type),
            date: date(SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs())),
            version: env!("CARGO_PKG_VERSION"),
            commit: std::env::var("LANCET_COMMIT").ok().or_else(|| option_env!("LANCET_COMMIT").map(str::to_owned)).or_else(working_tree),
        }
    }
}

fn cpu() -> Option<String> {
    let text = std::fs::read_to_string("/proc/cpuinfo").ok()?;
    let line = text.lines().find_map(|l| l.strip_prefix("model name"))?;
    Some(line.trim_start_matches([' ', '\t', ':']).to_owned())
}

/// Of the repository that this program lies in, with `-dirty` behind it where files differ.
fn working_tree() -> Option<String> {
    let program = std::env::current_exe().ok()?;
    let inside = |folder: &&Path| folder.join("Cargo.toml").is_file() && folder.join("shaders").is_dir();
    let root: PathBuf = program.ancestors().find(inside)?.to_owned();
    let git =
        std::process::Command::new("git").arg("-C").arg(root).args(["describe", "--always", "--dirty", "--abbrev=12"]).output().ok()?;
    let said = String::from_utf8(git.stdout).ok()?;
    (git.status.success() && !said.trim().is_empty()).then(|| said.trim().to_owned())
}

/// `2026-11-23T04:05:06Z` from seconds since 1970: years of 365 or 366 days, counted off.
fn date(seconds: u64) -> String {
    let (mut days, clock) = (seconds / 86_400, seconds % 86_400);
    let leap = |y: u64| y.is_multiple_of(4) && (!y.is_multiple_of(100) || y.is_multiple_of(400));
    let mut year = 1970;
    while days >= 365 + u64::from(leap(year)) {
        days -= 365 + u64::from(leap(year));
        year += 1;
    }
    let mut month = 1;
    for length in [31, 28 + u64::from(leap(year)), 31, 30, 31, 30, 31, 31, 30, 31, 30] {
        if days < length {
            break;
        }
        days -= length;
        month += 1;
    }
    format!("{year}-{month:02}-{:02}T{:02}:{:02}:{:02}Z", days + 1, clock / 3600, clock / 60 % 60, clock % 60)
}

#[cfg(test)]
mod tests {
    use super::date;

    #[test]
    fn dates() {
        assert_eq!(date(0), "1970-01-01T00:00:00Z");
        assert_eq!(date(951_782_399), "2000-02-28T23:59:59Z");
        assert_eq!(date(951_782_400), "2000-02-29T00:00:00Z");
        assert_eq!(date(1_735_689_599), "2024-12-31T23:59:59Z");
        assert_eq!(date(1_795_393_800), "2026-11-23T00:30:00Z");
    }
}
