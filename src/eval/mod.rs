//! Measures: heat maps against masks, segmentations, rankings. Pure functions on slices, without a GPU.
//!
//! Every measure is split in two. What one image gives is integers, or numbers that are kept as they are; what a data set
//! gives is computed from those in the order of the images. So parts of an evaluation that ran on different machines add up
//! to the last digit.
//!
//! Masks are classes by pixel, `[H, W]`, with two more values: [`UNLABELLED`] and [`IGNORED`].

pub mod confusion;
pub mod maps;
pub mod ranking;

pub use confusion::{Cell, Confusion, confusion_cells};
pub use maps::{MapCounts, MapSummary, THRESHOLDS, argmax_counts, map_counts, threshold};
pub use ranking::{average_precision, mean_average_precision, rank};

/// A pixel that belongs to no class: outside of every object, and not background as a class of its own.
pub const UNLABELLED: u16 = 0xfffe;

/// A pixel that nobody is asked about: object borders in VOC, unlabelled ground in ADE20K.
pub const IGNORED: u16 = 0xffff;
