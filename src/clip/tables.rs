//! Small tables on the GPU that depend on the grid alone, made once: which rows attend to which, and Gaussian windows.

use crate::error::Result;
use crate::gpu::{Gpu, Tensor};
use crate::ops::Tiles;
use crate::reference::gaussian_window;
use crate::shape::DType;
use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Mutex, PoisonError};

/// Tables by what they depend on. Plans that ask for the same one get the same buffer, and so recognise shared steps.
#[derive(Debug, Default)]
pub(crate) struct Tables {
    tiles: Mutex<HashMap<(u32, u32, bool), Tiles>>,
    windows: Mutex<HashMap<([u32; 2], u32), Tensor>>,
}

impl Tables {
    /// For `images` of 1 + N tokens; `patches`: class tokens apart.
    pub fn tiles(&self, gpu: &Gpu, images: u32, tokens: u32, patches: bool) -> Result<Tiles> {
        kept(&self.tiles, (images, tokens, patches), || match patches {
            true => Tiles::patches(gpu, images, tokens),
            false => Tiles::equal(gpu, images, tokens),
        })
    }

    /// The Gaussian window of a grid (width, height) as a bias `[1 + N, R4]`.
    pub fn window(&self, gpu: &Gpu, grid: [u32; 2], sigma: f32) -> Result<Tensor> {
        kept(&self.windows, (grid, sigma.to_bits()), || {
            let tokens = 1 + grid[0] * grid[1];
            let window = gaussian_window(grid.map(|side| side as usize), sigma);
            gpu.upload("lancet.gaussian_window", &[tokens, tokens.next_multiple_of(4)], DType::F32, &window)
        })
    }
}

fn kept<K: Eq + Hash, T: Clone>(tables: &Mutex<HashMap<K, T>>, key: K, make: impl FnOnce() -> Result<T>) -> Result<T> {
    let mut tables = tables.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(table) = tables.get(&key) {
        return Ok(table.clone());
    }
    let table = make()?;
    tables.insert(key, table.clone());
    Ok(table)
}
