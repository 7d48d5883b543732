//! Times the kernels that can make a product, in turns, so that what else the machine does meets all of them.

use super::products::Product;
use anyhow::Result;
use lancet::gpu::{Gpu, Plan, PlanBuilder, Source, Tensor};
use lancet::ops::{self, Choice, MatmulArgs, Residual};
use lancet::reference::Activation;
use lancet::shape::DType;
use std::sync::Arc;

/// Kernels slower than this many times the best are not measured to the end.
const HOPELESS: f64 = 2.0;
/// Slices of K that are tried where tiles are few.
const SLICES: [u32; 3] = [2, 4, 8];
/// Below this many workgroups a GPU has idle parts.
const FEW_WORKGROUPS: u64 = 128;
/// Sums shorter than this are not worth a second kernel.
const LONG_SUM: u32 = 1024;

/// How activations and weights are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Storage {
    pub act: DType,
    pub weight: DType,
}

/// One kernel on one product.
#[derive(Clone, Debug)]
pub struct Timed {
    pub choice: Choice,
    /// The best of all rounds, milliseconds.
    pub ms: f64,
    /// Rounds that it took part in.
    pub rounds: u32,
}

/// A product and its kernels, the fastest first.
#[derive(Clone, Debug)]
pub struct Measured {
    pub product: Product,
    pub storage: Storage,
    /// What runs today without a tuned table.
    pub shipped: Choice,
    pub timed: Vec<Timed>,
}

impl Measured {
    /// The fastest; the shipped choice if nothing beats it by more than noise does.
    pub fn winner(&self) -> &Timed {
        const NOISE: f64 = 1.03;
        let best = &self.timed[0];
        self.timed.iter().find(|t| t.choice == self.shipped && t.ms <= best.ms * NOISE).unwrap_or(best)
    }

    pub fn gflops(&self, ms: f64) -> f64 {
        2.0 * self.product.shape.iter().map(|&d| f64::from(d)).product::<f64>() / ms / 1e6
    }
}

struct Candidate {
    choice: Choice,
    plan: Plan<Tensor>,
    best: f64,
    rounds: u32,
    out: bool,
}

/// Times everything that can make `product`; the fastest first.
pub fn measure(gpu: &Arc<Gpu>, product: &Product, storage: Storage, rounds: u32) -> Result<Measured> {
    let [m, n, k] = product.shape;
    let x = operand(gpu, [m, k], storage.act)?;
    let weight = operand(gpu, [n, k], storage.weight)?;
    // Beside bytes, their rows' scales.
    let bias = operand(gpu, [if storage.weight == DType::I8 { 2 } else { 1 }, n], DType::F32)?;
    let mut candidates = Vec::new();
    for variant in ops::matmul_variants().iter().filter(|v| v.runs(&gpu.caps, storage.act, storage.weight, ops::matmul_unit([n, k]))) {
        let tiles = variant.workgroups(m, n);
        if tiles.iter().any(|&g| g > gpu.caps.max_workgroups) {
            continue;
        }
        let few = tiles.iter().map(|&g| u64::from(g)).product::<u64>() < FEW_WORKGROUPS && k >= LONG_SUM;
        for slices in [1].into_iter().chain(SLICES.into_iter().filter(|_| few)) {
            let choice = Choice { kernel: variant.kernel, slices };
            let mut plan = plan(gpu, &x, &weight, &bias, choice)?;
            // Some drivers compile at the first run.
            plan.run_timed(Source::None)?;
            candidates.push(Candidate { choice, plan, best: f64::INFINITY, rounds: 0, out: false });
        }
    }
    for round in 0..rounds {
        for c in candidates.iter_mut().filter(|c| !c.out) {
            c.best = c.best.min(c.plan.run_on_device(Source::None)?);
            c.rounds += 1;
        }
        let best = candidates.iter().map(|c| c.best).fold(f64::INFINITY, f64::min);
        // One round may have met a busy machine.
        candidates.iter_mut().filter(|c| round >= 1 && c.best > HOPELESS * best).for_each(|c| c.out = true);
    }
    let mut timed: Vec<Timed> = candidates.into_iter().map(|c| Timed { choice: c.choice, ms: c.best, rounds: c.rounds }).collect();
    timed.sort_by(|a, b| a.ms.total_cmp(&b.ms));
    let shipped = ops::matmul_shipped(&gpu.caps, product.shape, storage.act, storage.weight);
    Ok(Measured { product: product.clone(), storage, shipped, timed })
}

fn plan(gpu: &Arc<Gpu>, x: &Tensor, weight: &Tensor, bias: &Tensor, choice: Choice) -> Result<Plan<Tensor>> {
    let mut b = PlanBuilder::new(gpu);
    let x = b.import(x);
    let args = MatmulArgs { x, x_offset: 0, weight, bias: Some(bias), activation: Activation::QuickGelu, residual: Residual::None };
    let y = ops::matmul_by(&mut b, "matmul", args, choice)?;
    b.keep(y);
    Ok(b.finish(|r| r.tensor(y))?)
}

/// Small numbers around zero, exact in f16.
fn operand(gpu: &Gpu, [rows, columns]: [u32; 2], dtype: DType) -> Result<Tensor> {
    let values = (0..rows * columns).map(|i| (i.wrapping_mul(7919) % 17) as f32 / 64.0 - 0.125);
    let dims: &[u32] = if rows == 1 { &[columns] } else { &[rows, columns] };
    Ok(match dtype {
        DType::F16 => gpu.upload("tune", dims, dtype, &values.map(half::f16::from_f32).collect::<Vec<_>>())?,
        DType::I8 => gpu.upload("tune", dims, dtype, &values.map(|v| (64.0 * v) as i8).collect::<Vec<_>>())?,
        _ => gpu.upload("tune", dims, DType::F32, &values.collect::<Vec<_>>())?,
    })
}
