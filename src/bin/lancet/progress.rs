//! A line on the terminal for what takes longer than a moment.

use indicatif::{ProgressBar, ProgressStyle};
use std::time::{Duration, Instant};

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
        let bar = if quiet { ProgressBar::hidden() } else { ProgressBar::new_spinner() };
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
