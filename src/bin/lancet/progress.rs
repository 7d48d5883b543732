//! A line on the terminal for what takes longer than a moment.

use indicatif::{HumanBytes, MultiProgress, ProgressBar, ProgressStyle};
use lancet::hub::Progress;
use std::sync::LazyLock;
use std::time::{Duration, Instant};

/// The terminal: a download's bar stands below the spinner of the stage that needs it.
static TERMINAL: LazyLock<MultiProgress> = LazyLock::new(MultiProgress::new);

/// Stages of one command: a spinner on the terminal, and the time of each stage for the JSON.
#[derive(Debug)]
pub struct Stages {
    bar: ProgressBar,
    started: Instant,
    current: Option<(&'static str, Instant)>,
    done: Vec<(&'static str, f64)>,
}

impl Stages {
    /// Silent if asked to be, or if stderr is no terminal.
    pub fn new(quiet: bool) -> Stages {
        let bar = if quiet { ProgressBar::hidden() } else { TERMINAL.add(ProgressBar::new_spinner()) };
        if let Ok(style) = ProgressStyle::with_template("{spinner} {msg} {elapsed}") {
            bar.set_style(style);
        }
        bar.enable_steady_tick(Duration::from_millis(120));
        Stages { bar, started: Instant::now(), current: None, done: Vec::new() }
    }

    /// Ends the stage before and begins this one. `name` is its key in the JSON.
    pub fn begin(&mut self, name: &'static str, message: impl Into<String>) {
        self.end_current();
        self.bar.set_message(message.into());
        self.current = Some((name, Instant::now()));
    }

    /// More about the stage that is running.
    pub fn message(&self, message: impl Into<String>) {
        self.bar.set_message(message.into());
    }

    /// From now on a bar: so many things to do. The bar may be moved by any thread.
    pub fn count(&self, things: u64, name: &str) -> ProgressBar {
        if let Ok(style) = ProgressStyle::with_template(&format!("{{bar:32}} {{pos}} of {{len}} {name}, {{elapsed}}, {{eta}} left {{msg}}"))
        {
            self.bar.set_style(style);
        }
        self.bar.set_message("");
        self.bar.set_position(0);
        self.bar.set_length(things);
        self.bar.reset_eta();
        self.bar.clone()
    }

    fn end_current(&mut self) {
        if let Some((name, since)) = self.current.take() {
            let ms = since.elapsed().as_secs_f64() * 1e3;
            match self.done.iter_mut().find(|d| d.0 == name) {
                Some(known) => known.1 += ms,
                None => self.done.push((name, ms)),
            }
        }
    }

    /// Clears the line; (stage, milliseconds) in order, `total` last.
    pub fn finish(mut self) -> Vec<(&'static str, f64)> {
        self.end_current();
        self.bar.finish_and_clear();
        self.done.push(("total", self.started.elapsed().as_secs_f64() * 1e3));
        self.done
    }
}

/// Files at least this large are worth a line where there is no terminal.
const WORTH_A_LINE_BYTES: u64 = 10 << 20;

/// A bar per file that is fetched: bytes, speed, time left. A log gets one line for a large file.
#[derive(Debug)]
pub struct Download {
    quiet: bool,
    file: String,
    bar: ProgressBar,
}

impl Download {
    /// Silent if asked to be.
    pub fn new(quiet: bool) -> Download {
        Download { quiet, file: String::new(), bar: ProgressBar::hidden() }
    }

    /// What [`lancet::hub::Hub`] calls.
    pub fn show(&mut self, progress: Progress<'_>) {
        if self.quiet {
            return;
        }
        match progress {
            Progress::Waiting { file } => {
                let line = format!("{file}: another process is fetching it; waiting");
                if TERMINAL.println(&line).is_err() || TERMINAL.is_hidden() {
                    eprintln!("{line}");
                }
            }
            Progress::Bytes { file, done, total } => {
                if self.file != file {
                    self.begin(file, done, total);
                }
                self.bar.set_position(done);
            }
        }
    }

    fn begin(&mut self, file: &str, done: u64, total: u64) {
        self.bar.finish_and_clear();
        file.clone_into(&mut self.file);
        let bar = ProgressBar::new(total).with_message(self.file.clone());
        if let Ok(style) = ProgressStyle::with_template("{msg} {wide_bar} {bytes} of {total_bytes}, {bytes_per_sec}, {eta} left") {
            bar.set_style(style);
        }
        // Resumed bytes must not count as speed.
        self.bar = TERMINAL.add(bar.with_position(done));
        self.bar.reset_eta();
        if TERMINAL.is_hidden() && total >= WORTH_A_LINE_BYTES {
            let resumed = if done > 0 { format!(", resumed at {}", HumanBytes(done)) } else { String::new() };
            eprintln!("fetching {file}, {}{resumed}", HumanBytes(total));
        }
    }
}

impl Drop for Download {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}
