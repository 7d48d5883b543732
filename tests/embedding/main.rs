//! lancet inside another program: its device, its encoder, its submits, its error handlers.
//!
//! The host's device has no feature and WebGPU's default limits. What claims "the same" means every bit, or says what else.

#[path = "../common/mod.rs"]
mod common;
mod compare;
mod errors;
mod host;
mod lifetime;
mod pipelines;
mod recording;
mod stream;
