//! The golden folder and comparisons.

use lancet::weights::{Stored, Weights};
use std::path::PathBuf;

/// Expected outputs and the models they belong to.
pub struct Golden {
    root: PathBuf,
}

/// How far apart two stages may be. Both limits must hold.
#[derive(Clone, Copy, Debug)]
pub struct Tolerance {
    pub rel_l2: f64,
    pub max_abs: f64,
}

/// f32 arithmetic against f64: the original itself is 7e-7 and 8e-6 away (measured), ten times that is allowed.
pub const STAGE: Tolerance = Tolerance { rel_l2: 1e-5, max_abs: 1e-4 };
/// Cosines and what is made of them are below 1.
pub const SIMILARITY: Tolerance = Tolerance { rel_l2: 1e-5, max_abs: 5e-6 };
/// Maps in 0..1: min-max divides by a small range. 1.5e-6 measured in the original.
pub const MAP: Tolerance = Tolerance { rel_l2: 1e-4, max_abs: 5e-5 };
/// Weights and activations in f16 storage against f32: not the original's doing, so a limit of our own.
pub const HALF_STAGE: Tolerance = Tolerance { rel_l2: 5e-3, max_abs: 5e-2 };
/// The same after scores: differences of close cosines.
pub const HALF_SIMILARITY: Tolerance = Tolerance { rel_l2: 2e-2, max_abs: 5e-3 };

impl Golden {
    pub fn is_full() -> bool {
        std::env::var_os("LANCET_GOLDEN").is_some()
    }

    pub fn open() -> Golden {
        // Where cargo says at run time: an executable that was carried elsewhere is told where its data lies.
        let here = || std::env::var_os("CARGO_MANIFEST_DIR").unwrap_or_else(|| env!("CARGO_MANIFEST_DIR").into());
        let root = std::env::var_os("LANCET_GOLDEN").map_or_else(|| PathBuf::from(here()).join("tests/golden"), PathBuf::from);
        assert!(root.is_dir(), "golden folder {} is missing", root.display());
        Golden { root }
    }

    pub fn path(&self, inside: &str) -> PathBuf {
        self.root.join(inside)
    }

    /// A file of expected tensors.
    pub fn expected(&self, name: &str) -> Weights {
        Weights::open(self.path(&format!("expected/{name}.safetensors"))).unwrap()
    }
}

/// Values of an expected tensor, widened to f32.
pub fn floats(file: &Weights, name: &str) -> Vec<f32> {
    file.floats(&Stored::Plain(name.into()), "a golden file").unwrap()
}

/// 32-bit integers of an expected tensor.
pub fn ints(file: &Weights, name: &str) -> Vec<u32> {
    let raw = file.raw(name).unwrap_or_else(|| panic!("{name} is not in {}", file.path().display()));
    raw.as_chunks().0.iter().map(|b| u32::from_le_bytes(*b)).collect()
}

/// Compares a stage; the message names it, the worst element and both measures.
pub fn compare(stage: &str, got: &[f32], expected: &[f32], limit: Tolerance) -> Result<(), String> {
    if got.len() != expected.len() {
        return Err(format!("{stage}: {} values, expected {}", got.len(), expected.len()));
    }
    let (mut square, mut norm, mut worst, mut at) = (0.0, 0.0, 0.0f64, 0);
    for (i, (&g, &e)) in got.iter().zip(expected).enumerate() {
        let d = f64::from(g) - f64::from(e);
        square += d * d;
        norm += f64::from(e) * f64::from(e);
        // NaN compares as worst.
        if d.abs() > worst || d.is_nan() {
            (worst, at) = (d.abs(), i);
        }
    }
    let rel_l2 = (square / norm.max(1e-30)).sqrt();
    if rel_l2 <= limit.rel_l2 && worst <= limit.max_abs {
        return Ok(());
    }
    Err(format!(
        "first wrong stage {stage}: rel_l2 {rel_l2:.2e} (limit {:.0e}), worst {worst:.2e} (limit {:.0e}) at {at}: got {}, expected {}",
        limit.rel_l2, limit.max_abs, got[at], expected[at]
    ))
}
