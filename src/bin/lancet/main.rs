//! `lancet`: see inside CLIP from the command line. One file per subcommand.

/// `println!` that fails with a message instead of a panic where stdout cannot be written.
macro_rules! out {
    () => { $crate::output::say(format_args!("")) };
    ($($line:tt)*) => { $crate::output::say(format_args!($($line)*)) };
}

mod anomaly;
mod args;
mod classify;
mod compare;
mod convert;
mod encode;
mod eval;
mod explain;
mod info;
mod inputs;
mod marks;
mod methods;
mod model;
mod models;
mod names;
mod output;
mod points;
mod profile;
mod progress;
mod segment;
mod sheet;
mod tune;
mod words;
mod words_page;

use clap::{Parser, Subcommand};
use std::process::ExitCode;

/// See inside CLIP on any GPU: heat maps of what a label lights up.
#[derive(Debug, Parser)]
#[command(version, about, arg_required_else_help = true, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Explain(explain::Args),
    Compare(Box<compare::Args>),
    Words(words::Args),
    Encode(encode::Args),
    Points(points::Args),
    Eval(Box<eval::Args>),
    Segment(segment::Args),
    Anomaly(anomaly::Args),
    Classify(classify::Args),
    Convert(convert::Args),
    Methods(methods::Args),
    Models(models::Args),
    Profile(profile::Args),
    Tune(tune::Args),
    Info(info::Args),
}

fn main() -> ExitCode {
    quiet_driver();
    end_with_the_pipe();
    let cli = Cli::parse();
    let done = match cli.command {
        Command::Explain(args) => explain::run(&args),
        Command::Compare(args) => compare::run(&args),
        Command::Words(args) => words::run(&args),
        Command::Encode(args) => encode::run(&args),
        Command::Points(args) => points::run(&args),
        Command::Eval(args) => eval::run(&args),
        Command::Segment(args) => segment::run(&args),
        Command::Anomaly(args) => anomaly::run(&args),
        Command::Methods(args) => methods::run(&args),
        Command::Models(args) => models::run(&args),
        Command::Classify(args) => classify::run(&args),
        Command::Convert(args) => convert::run(&args),
        Command::Profile(args) => profile::run(&args),
        Command::Tune(args) => tune::run(&args),
        Command::Info(args) => info::run(&args),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // One line: what we were doing, then the cause.
            eprintln!("error: {}", format!("{error:#}").replace('\n', " "));
            ExitCode::FAILURE
        }
    }
}

/// `lancet profile | head`: ends in silence when nobody reads on, as other programs do, instead of failing to print.
fn end_with_the_pipe() {
    #[cfg(unix)]
    // SAFETY: no handler of ours is replaced; sockets do not raise this signal, the standard library asks for that.
    unsafe {
        libc::signal(libc::SIGPIPE, libc::SIG_DFL);
    }
}

/// Mesa looks for a Wayland display, and without a runtime folder libwayland prints an error of its own on every start,
/// in containers above all. A folder without a display in it is looked at in silence.
fn quiet_driver() {
    if cfg!(target_os = "linux") && std::env::var_os("XDG_RUNTIME_DIR").is_none() {
        // SAFETY: the first thing that main does; no other thread exists that could read the environment.
        unsafe { std::env::set_var("XDG_RUNTIME_DIR", std::env::temp_dir()) };
    }
}
