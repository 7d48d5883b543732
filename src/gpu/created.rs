//! How much was made on a device: a program that keeps a frame rate makes nothing once it is warm.

use std::sync::atomic::{AtomicU64, Ordering};

/// What lancet made on a device since it was opened, freed or not. Two equal readings: nothing was made between them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Created {
    /// Buffers.
    pub buffers: u64,
    /// Textures.
    pub textures: u64,
    /// Bind groups.
    pub bind_groups: u64,
    /// Compute pipelines.
    pub pipelines: u64,
}

/// The same, counted by all threads.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub buffers: Counter,
    pub textures: Counter,
    pub bind_groups: Counter,
    pub pipelines: Counter,
}

#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    /// Counts one and hands it through.
    pub fn count<T>(&self, made: T) -> T {
        self.0.fetch_add(1, Ordering::Relaxed);
        made
    }

    fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

impl Counters {
    pub fn read(&self) -> Created {
        Created {
            buffers: self.buffers.get(),
            textures: self.textures.get(),
            bind_groups: self.bind_groups.get(),
            pipelines: self.pipelines.get(),
        }
    }
}
