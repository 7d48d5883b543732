//! lancet inside another program: its device, its encoder, its submits, its error handlers.
//!
//! The host's device has no feature and WebGPU's default limits. Everything that claims "the same" means every bit.

#[path = "../common/mod.rs"]
mod common;
mod errors;
mod host;
mod lifetime;
mod pipelines;
mod recording;
mod stream;
