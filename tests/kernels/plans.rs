//! Kernels in one plan: what one leaves is what the next reads, and running again changes nothing.

use crate::common::{Random, default_rig, plan, poison, record_and_read, rigs, run, sum_of, upload};
use lancet::gpu::kernel::kernels;
use lancet::gpu::{PlanBuilder, Source, Tensor, Value};
use lancet::ops::{self, AttentionArgs, LayerNormArgs, Map, MatmulArgs, Residual, Tiles};
use lancet::reference::{self, Activation, Heads, Projection};
use lancet::shape::DType;
use lancet::{Error, Result};

const TOKENS: usize = 77;
const WIDTH: usize = 96;
const HEADS: Heads = Heads { heads: 2, size: 48 };
const QK: (Projection, Projection) = (Projection::Query, Projection::Key);

/// The first half of a block: norm, one product for queries, keys and values, attention, projection, residual.
struct Block {
    x: Vec<f32>,
    weights: [Vec<f32>; 4], // gain, bias, qkv, projection
    tensors: [Tensor; 5],   // x, then the same
    tiles: Tiles,
}

/// Every row.
fn norm<'a>(x: Value, gain: &'a Tensor, bias: &'a Tensor, eps: f32) -> LayerNormArgs<'a> {
    LayerNormArgs { x, first_row: 0, rows: TOKENS as u32, gain, bias, eps, merge: None }
}

impl Block {
    fn new(rig: &crate::Rig) -> Block {
        let mut random = Random::new(11);
        let [w, t] = [WIDTH as u32, TOKENS as u32];
        let mut data = |count: usize, scale| random.floats(count, scale, DType::F32);
        let x = data(TOKENS * WIDTH, 2.0);
        let weights = [data(WIDTH, 1.0), data(WIDTH, 0.5), data(3 * WIDTH * WIDTH, 0.2), data(WIDTH * WIDTH, 0.2)];
        let put = |dims: &[u32], data: &[f32]| upload(rig, dims, DType::F32, data);
        let tensors =
            [put(&[t, w], &x), put(&[w], &weights[0]), put(&[w], &weights[1]), put(&[3 * w, w], &weights[2]), put(&[w, w], &weights[3])];
        let tiles = Tiles::equal(rig.engine.gpu(), 1, t).expect("tiles");
        Block { x, weights, tensors, tiles }
    }

    fn plan(&self, b: &mut PlanBuilder) -> Result<Value> {
        let [x, gain, bias, qkv, projection] = &self.tensors;
        let x = b.import(x);
        let args = |x, weight, residual| MatmulArgs { x, x_offset: 0, weight, bias: None, activation: Activation::None, residual };
        let normed = ops::layer_norm(b, "norm", norm(x, gain, bias, 1e-5))?;
        let qkv = ops::matmul(b, "qkv", args(normed, qkv, Residual::None))?;
        let attended = ops::attention(
            b,
            "attention",
            AttentionArgs { qkv, tiles: &self.tiles, heads: HEADS, scale: 0.14, cap: None, causal: false, paths: &[QK] },
        )?;
        ops::matmul(b, "out", args(attended, projection, Residual::Whole(x)))
    }

    fn reference(&self) -> Vec<f32> {
        let [gain, bias, qkv, projection] = &self.weights;
        let normed = reference::layer_norm(&self.x, gain, bias, 1e-5);
        let qkv = reference::matmul(&normed, qkv, [TOKENS, WIDTH, 3 * WIDTH], None, Activation::None, None);
        let segment = reference::Segment { start: 0, len: TOKENS as u32 };
        let attended = reference::attention(&qkv, &[segment], HEADS, 0.14, false, QK);
        reference::matmul(&attended, projection, [TOKENS, WIDTH, WIDTH], None, Activation::None, Some(&self.x))
    }
}

#[test]
fn a_chain_agrees_with_the_chained_references() {
    for rig in rigs() {
        let block = Block::new(rig);
        let got = run(rig, |b| block.plan(b));
        // Which kernel of the family is the device's affair.
        let family = |name: &&str| kernels::ALL.iter().find(|k| k.name == *name).map_or("none", |k| k.family);
        let ops: Vec<&str> = got.kernels.iter().map(family).collect();
        assert_eq!(ops, ["layer_norm", "matmul", "attention", "matmul"]);
        // The errors of four kernels; scores of some 10 carry theirs into the probabilities.
        crate::common::assert_close(&format!("half a block on the {} device", rig.name), &got, &block.reference(), sum_of(WIDTH, 1.0));
    }
}

#[test]
fn one_plan_recorded_twice_in_one_submit_gives_the_same_bits() {
    for rig in rigs() {
        let block = Block::new(rig);
        let mut plan = plan(rig, |b| block.plan(b));
        poison(rig, plan.outputs());
        let first = record_and_read(rig, &mut plan, Source::None, 2);
        assert!(first[0] == first[1], "two recordings in one submit differ on the {} device", rig.name);
        let later = record_and_read(rig, &mut plan, Source::None, 1);
        assert!(first[0] == later[0], "a later submit differs on the {} device", rig.name);
        let again = run(rig, |b| block.plan(b));
        assert!(first[0] == again, "a second plan differs on the {} device", rig.name);
    }
}

#[test]
fn what_was_pushed_before_is_not_pushed_again() {
    let rig = default_rig();
    let block = Block::new(rig);
    let [x, gain, bias, ..] = &block.tensors;
    let mut plan = plan(rig, |b| {
        let x = b.import(x);
        let norm = |b: &mut PlanBuilder, eps| ops::layer_norm(b, "norm", norm(x, gain, bias, eps));
        let (first, second, other) = (norm(b, 1e-5)?, norm(b, 1e-5)?, norm(b, 1e-3)?);
        // What follows from equals is equal; another eps is not.
        let [first, second, other] = [first, second, other].map(|x| ops::l2_normalize(b, "unit", x));
        let outputs = [first?, second?, other?];
        outputs.iter().for_each(|&v| b.keep(v));
        Ok(outputs[1])
    });
    let steps: Vec<_> = plan.steps().iter().map(|s| (s.label.as_str(), s.uses)).collect();
    assert_eq!(steps, [("norm", 2), ("norm", 1), ("unit", 2), ("unit", 1)]);
    let got = record_and_read(rig, &mut plan, Source::None, 1).remove(0);
    let want = reference::l2_normalize(&reference::layer_norm(&block.x, &block.weights[0], &block.weights[1], 1e-5), WIDTH);
    crate::common::assert_close("a shared step", &got, &want, sum_of(WIDTH, 1.0));
}

#[test]
fn pipelines_are_compiled_once() {
    let rig = default_rig();
    let block = Block::new(rig);
    let _ = plan(rig, |b| block.plan(b));
    // Other tests compile theirs meanwhile, so only this: planning again is not slower by a compilation.
    let count = rig.engine.gpu().pipeline_count();
    assert!(count >= 3, "{count} pipelines after three kernels");
}

/// Shapes that do not fit are errors that name the op, before anything reaches the device.
#[test]
fn shapes_that_do_not_fit_are_refused() {
    let rig = default_rig();
    let [x, odd, weight] = [[2u32, 8], [2, 6], [4, 12]].map(|d| upload(rig, &d, DType::F32, &vec![0.0; (d[0] * d[1]) as usize]));
    type Build<'a> = Box<dyn Fn(&mut PlanBuilder) -> Result<Value> + 'a>;
    let product = |b: &mut PlanBuilder, x: &Tensor| {
        let x = b.import(x);
        ops::matmul(
            b,
            "y",
            MatmulArgs { x, x_offset: 0, weight: &weight, bias: None, activation: Activation::None, residual: Residual::None },
        )
    };
    let heads = |b: &mut PlanBuilder, heads, size, paths: &[(Projection, Projection)]| {
        let tiles = Tiles::equal(b.gpu(), 1, 2)?;
        let qkv = b.import(&x);
        ops::attention(
            b,
            "y",
            AttentionArgs { qkv, tiles: &tiles, heads: Heads { heads, size }, scale: 1.0, cap: None, causal: false, paths },
        )
    };
    let conv = |b: &mut PlanBuilder, size| {
        let x = Map { value: b.import(&x), images: 1, size };
        Ok(ops::conv3x3(b, "y", x, &weight, &weight, Activation::Relu)?.value)
    };
    let table: Vec<(&str, Build<'_>)> = vec![
        ("matmul", Box::new(|b| product(b, &x))),
        ("matmul", Box::new(|b| product(b, &odd))),
        ("attention", Box::new(|b| heads(b, 1, 4, &[QK]))),
        ("attention", Box::new(|b| Tiles::equal(b.gpu(), 1, 0).and_then(|_| heads(b, 1, 4, &[])))),
        // Two rows are no map of 3 x 1 pixels; 12 columns of weights are not nine taps of 8; one row cannot be halved.
        ("conv3x3", Box::new(|b| conv(b, [3, 1]))),
        ("conv3x3", Box::new(|b| conv(b, [2, 1]))),
        (
            "avg_pool",
            Box::new(|b| {
                let x = Map { value: b.import(&x), images: 1, size: [2, 1] };
                Ok(ops::avg_pool(b, "y", x)?.value)
            }),
        ),
        // Unit values are the fourth column block.
        ("attention", Box::new(|b| heads(b, 1, 4, &[(Projection::UnitValue, Projection::UnitValue)]))),
        (
            "activation",
            Box::new(|b| {
                let x = b.import(&odd);
                ops::activation(b, "y", x, Activation::Gelu)
            }),
        ),
        (
            "upsample",
            Box::new(|b| {
                let x = b.import(&x);
                ops::upsample(b, "y", x, [3, 3], [9, 9])
            }),
        ),
        (
            "minmax",
            Box::new(|b| {
                let x = b.import(&x);
                ops::minmax(b, "y", x, 3)
            }),
        ),
    ];
    for (op, build) in table {
        match build(&mut PlanBuilder::new(rig.engine.gpu())) {
            Err(Error::Shape { op: named, .. }) => assert_eq!(named, op),
            other => panic!("{op}: expected a shape error, got {other:?}"),
        }
    }
}
