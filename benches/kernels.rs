//! Every kernel at the shapes of ViT-B/32, ViT-B/16, ViT-L/14 and RN50: `cargo bench --bench kernels [-- NAME]`.
//!
//! A sample is a whole submit, waited for, so small kernels show what a submit costs. Rows are named like the kernels.
//! `item/s` are floating-point operations (G: GFLOP/s), `B/s` operand bytes, each operand counted once. What the kernels
//! compute is tested in `tests/kernels`.

use divan::counter::{BytesCount, ItemsCount};
use divan::{Bencher, Divan};
use lancet::gpu::{PlanBuilder, Source, Tensor, Value};
use lancet::ops::{self, AttentionArgs, LayerNormArgs, Map, MatmulArgs, Merge, Residual, Resize, Surgery, Tiles, Winner};
use lancet::reference::{Activation, Align, Heads, Projection, Windows};
use lancet::shape::DType;
use lancet::{Engine, Options, Result, wgpu};
use std::sync::OnceLock;
use std::time::Duration;

fn main() {
    let caps = engine().caps();
    println!("{} ({:?}, {})", caps.adapter, caps.backend, caps.driver);
    Divan::default().sample_size(1).sample_count(20).max_time(Duration::from_secs(2)).config_with_args().main();
}

fn engine() -> &'static Engine {
    static ENGINE: OnceLock<Engine> = OnceLock::new();
    ENGINE.get_or_init(|| pollster::block_on(Engine::new(Options::default())).unwrap_or_else(|e| panic!("{e}")))
}

/// A model's sizes.
#[derive(Clone, Copy, Debug)]
struct Model {
    name: &'static str,
    patch: u32,
    /// 1 + N at 224 pixels.
    tokens: u32,
    width: u32,
    heads: usize,
    /// Joint embedding.
    embed: u32,
    text_width: u32,
}

impl std::fmt::Display for Model {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name)
    }
}

const B32: Model = Model { name: "ViT-B/32", patch: 32, tokens: 50, width: 768, heads: 12, embed: 512, text_width: 512 };
const B16: Model = Model { name: "ViT-B/16", patch: 16, tokens: 197, ..B32 };
const L14: Model = Model { name: "ViT-L/14", patch: 14, tokens: 257, width: 1024, heads: 16, embed: 768, text_width: 768 };
const MODELS: [Model; 3] = [B32, B16, L14];

/// Labels of a usual run.
const LABELS: u32 = 59;
/// Texts in one run of the text tower.
const PROMPTS: u32 = LABELS * 20;
/// Labels drawn in one pass.
const OVERLAYS: u32 = 6;
/// Side of the model's input and of a photograph, pixels.
const INPUT: u32 = 224;
const PHOTO: [u32; 2] = [1280, 720];

/// Small whole numbers around zero, exact in f16.
fn tensor(dims: &[u32], dtype: DType) -> Tensor {
    let count = dims.iter().product::<u32>() as usize;
    let data = (0..count).map(|i| ((i * 7919 + 13) % 17) as f32 / 64.0 - 0.125);
    let made = match dtype {
        DType::F32 => engine().gpu().upload("bench", dims, dtype, &data.collect::<Vec<_>>()),
        DType::F16 => engine().gpu().upload("bench", dims, dtype, &data.map(half::f16::from_f32).collect::<Vec<_>>()),
        DType::I8 => engine().gpu().upload("bench", dims, dtype, &data.map(|v| (64.0 * v) as i8).collect::<Vec<_>>()),
        DType::U32 => {
            engine().gpu().upload("bench", dims, dtype, &(0..count as u32).map(|i| i.wrapping_mul(2_654_435_761)).collect::<Vec<_>>())
        }
    };
    made.expect("uploading bench data")
}

/// Times whole submits of a plan.
fn time(bencher: Bencher<'_, '_>, build: impl FnOnce(&mut PlanBuilder) -> Result<Value>) {
    let mut b = PlanBuilder::new(engine().gpu());
    let y = build(&mut b).expect("planning");
    b.keep(y);
    let mut plan = b.finish(|r| r.tensor(y)).expect("finishing the plan");
    let flops: u64 = plan.steps().iter().map(|s| s.flops).sum();
    let bytes: u64 = plan.steps().iter().map(|s| s.bytes).sum();
    // Some drivers compile at the first dispatch.
    plan.run_timed(Source::None).expect("warming up");
    let bencher = bencher.counter(BytesCount::new(bytes));
    let run = || plan.run_timed(Source::None).expect("running");
    match flops {
        0 => bencher.bench_local(run),
        _ => bencher.counter(ItemsCount::new(flops)).bench_local(run),
    }
}

/// The four products of a block; `weight` as stored.
fn product(bencher: Bencher<'_, '_>, [m, k, n]: [u32; 3], act: DType, weight: DType) {
    // Beside bytes, their rows' scales.
    let (both, one) = ([2, n], [n]);
    let bias = tensor(if weight == DType::I8 { &both } else { &one }, DType::F32);
    let (x, w) = (tensor(&[m, k], act), tensor(&[n, k], weight));
    time(bencher, |b| {
        let x = b.import(&x);
        ops::matmul(
            b,
            "matmul",
            MatmulArgs { x, x_offset: 0, weight: &w, bias: Some(&bias), activation: Activation::None, residual: Residual::None },
        )
    });
}

/// A kernel of the matmul family.
#[derive(Clone, Copy, Debug)]
struct By(&'static ops::MatmulVariant);

impl std::fmt::Display for By {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.0.kernel.name)
    }
}

mod matmul {
    use super::*;

    /// ViT-B/16's `mlp_up` by every kernel that this device runs on f32; the other rows are by the one that its table chooses.
    #[divan::bench(args = ops::matmul_variants().iter().filter(|v| v.runs(engine().caps(), DType::F32, DType::F32, B16.width)).map(By))]
    fn mlp_up_by(bencher: Bencher, by: By) {
        let [m, k, n] = [B16.tokens, B16.width, 4 * B16.width];
        let (x, weight) = (tensor(&[m, k], DType::F32), tensor(&[n, k], DType::F32));
        time(bencher, |b| {
            let x = b.import(&x);
            let args = MatmulArgs { x, x_offset: 0, weight: &weight, bias: None, activation: Activation::None, residual: Residual::None };
            ops::matmul_by(b, "matmul", args, ops::Choice::whole(by.0.kernel))
        });
    }

    #[divan::bench(args = MODELS)]
    fn qkv(bencher: Bencher, m: Model) {
        product(bencher, [m.tokens, m.width, 3 * m.width], DType::F32, DType::F32);
    }

    #[divan::bench(args = MODELS)]
    fn projection(bencher: Bencher, m: Model) {
        product(bencher, [m.tokens, m.width, m.width], DType::F32, DType::F32);
    }

    #[divan::bench(args = MODELS)]
    fn mlp_up(bencher: Bencher, m: Model) {
        product(bencher, [m.tokens, m.width, 4 * m.width], DType::F32, DType::F32);
    }

    #[divan::bench(args = MODELS)]
    fn mlp_up_f16_weight(bencher: Bencher, m: Model) {
        product(bencher, [m.tokens, m.width, 4 * m.width], DType::F32, DType::F16);
    }

    #[divan::bench(args = MODELS)]
    fn mlp_up_f16(bencher: Bencher, m: Model) {
        product(bencher, [m.tokens, m.width, 4 * m.width], DType::F16, DType::F16);
    }

    #[divan::bench(args = MODELS)]
    fn mlp_up_int8_weight(bencher: Bencher, m: Model) {
        product(bencher, [m.tokens, m.width, 4 * m.width], DType::F16, DType::I8);
    }

    #[divan::bench(args = MODELS)]
    fn mlp_down(bencher: Bencher, m: Model) {
        product(bencher, [m.tokens, 4 * m.width, m.width], DType::F32, DType::F32);
    }
}

mod attention {
    use super::*;

    const QK: (Projection, Projection) = (Projection::Query, Projection::Key);
    const VV: (Projection, Projection) = (Projection::Value, Projection::Value);

    fn heads(m: Model) -> Heads {
        Heads { heads: m.heads, size: m.width as usize / m.heads }
    }

    fn attention(bencher: Bencher<'_, '_>, m: Model, paths: &[(Projection, Projection)], act: DType) {
        let qkv = tensor(&[m.tokens, 3 * m.width], act);
        let tiles = Tiles::equal(engine().gpu(), 1, m.tokens).expect("tiles");
        time(bencher, |b| {
            let qkv = b.import(&qkv);
            ops::attention(
                b,
                "attention",
                AttentionArgs { qkv, tiles: &tiles, heads: heads(m), scale: 0.125, cap: None, causal: false, paths },
            )
        });
    }

    #[divan::bench(args = MODELS)]
    fn one_path(bencher: Bencher, m: Model) {
        attention(bencher, m, &[QK], DType::F32);
    }

    /// ViT-B/16 by every kernel that the device runs, one path.
    #[divan::bench(args = ops::attention_kernels(engine().caps(), heads(B16).size, DType::F32).map(|k| k.name))]
    fn one_path_by(bencher: Bencher, name: &str) {
        by(bencher, name, &[QK], DType::F32);
    }

    /// The same with two paths.
    #[divan::bench(args = ops::attention_kernels(engine().caps(), heads(B16).size, DType::F32).map(|k| k.name))]
    fn two_paths_by(bencher: Bencher, name: &str) {
        by(bencher, name, &[QK, VV], DType::F32);
    }

    /// With f16 storage, which cooperative matrices need.
    #[divan::bench(args = ops::attention_kernels(engine().caps(), heads(B16).size, DType::F16).map(|k| k.name))]
    fn two_paths_f16_by(bencher: Bencher, name: &str) {
        by(bencher, name, &[QK, VV], DType::F16);
    }

    fn by(bencher: Bencher<'_, '_>, name: &str, paths: &[(Projection, Projection)], act: DType) {
        let m = B16;
        let qkv = tensor(&[m.tokens, 3 * m.width], act);
        let tiles = Tiles::equal(engine().gpu(), 1, m.tokens).expect("tiles");
        let kernel = ops::attention_kernels(engine().caps(), heads(B16).size, act).find(|k| k.name == name).expect("a kernel of the list");
        time(bencher, |b| {
            let qkv = b.import(&qkv);
            let args = AttentionArgs { qkv, tiles: &tiles, heads: heads(m), scale: 0.125, cap: None, causal: false, paths };
            ops::attention_by(b, "attention", args, kernel)
        });
    }

    #[divan::bench(args = MODELS)]
    fn two_paths(bencher: Bencher, m: Model) {
        attention(bencher, m, &[QK, VV], DType::F32);
    }

    #[divan::bench(args = MODELS)]
    fn two_paths_f16(bencher: Bencher, m: Model) {
        attention(bencher, m, &[QK, VV], DType::F16);
    }

    /// Prompts of a shared beginning of five tokens, a label and two more, as an ensemble has them.
    #[divan::bench(args = MODELS)]
    fn trie(bencher: Bencher, m: Model) {
        let rows = 4096;
        let qkv = tensor(&[rows, 3 * m.text_width], DType::F32);
        // 125 rows a template: five that lead to 40 branches of three.
        let end = |row: u32| match row % 125 {
            first @ 0..5 => (row - first + 125).min(rows),
            i => (row - (i - 5) % 3 + 3).min(rows),
        };
        let ends: Vec<u32> = (0..rows).map(end).collect();
        let tiles = Tiles::trie(engine().gpu(), &ends).expect("tiles");
        let heads = Heads { heads: m.text_width as usize / 64, size: 64 };
        time(bencher, |b| {
            let qkv = b.import(&qkv);
            ops::attention(b, "attention", AttentionArgs { qkv, tiles: &tiles, heads, scale: 0.125, cap: None, causal: true, paths: &[QK] })
        });
    }

    #[divan::bench(args = MODELS)]
    fn attention_scores(bencher: Bencher, m: Model) {
        let qkv = tensor(&[m.tokens, 3 * m.width], DType::F32);
        time(bencher, |b| {
            let qkv = b.import(&qkv);
            ops::attention_scores(b, "attention_scores", qkv, 1, heads(m), 0.125, false, QK)
        });
    }

    #[divan::bench(args = MODELS)]
    fn softmax(bencher: Bencher, m: Model) {
        let scores = tensor(&[m.heads as u32, m.tokens, m.tokens], DType::F32);
        time(bencher, |b| {
            let scores = b.import(&scores);
            ops::softmax(b, "softmax", scores)
        });
    }
}

/// The layers of RN50 at 224 pixels: side of their maps, channels inside a bottleneck.
#[derive(Clone, Copy, Debug)]
struct Layer {
    name: &'static str,
    side: u32,
    planes: u32,
}

impl std::fmt::Display for Layer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name)
    }
}

const LAYERS: [Layer; 4] = [
    Layer { name: "RN50 layer1", side: 56, planes: 64 },
    Layer { name: "RN50 layer2", side: 28, planes: 128 },
    Layer { name: "RN50 layer3", side: 14, planes: 256 },
    Layer { name: "RN50 layer4", side: 7, planes: 512 },
];

mod resnet {
    use super::*;

    fn map(b: &mut PlanBuilder, x: &Tensor, side: u32) -> Map {
        Map { value: b.import(x), images: 1, size: [side; 2] }
    }

    fn conv(bencher: Bencher<'_, '_>, l: Layer, act: DType, weight: DType) {
        let (x, bias) = (tensor(&[l.side * l.side, l.planes], act), tensor(&[l.planes], DType::F32));
        let w = tensor(&[l.planes, 9 * l.planes], weight);
        time(bencher, |b| {
            let x = map(b, &x, l.side);
            Ok(ops::conv3x3(b, "conv3x3", x, &w, &bias, Activation::Relu)?.value)
        });
    }

    #[divan::bench(args = LAYERS)]
    fn conv3x3(bencher: Bencher, l: Layer) {
        conv(bencher, l, DType::F32, DType::F32);
    }

    #[divan::bench(args = LAYERS)]
    fn conv3x3_f16(bencher: Bencher, l: Layer) {
        conv(bencher, l, DType::F16, DType::F16);
    }

    #[divan::bench(args = LAYERS)]
    fn conv1x1_down(bencher: Bencher, l: Layer) {
        product(bencher, [l.side * l.side, 4 * l.planes, l.planes], DType::F32, DType::F32);
    }

    #[divan::bench(args = LAYERS)]
    fn conv1x1_up(bencher: Bencher, l: Layer) {
        product(bencher, [l.side * l.side, l.planes, 4 * l.planes], DType::F32, DType::F32);
    }

    #[divan::bench]
    fn conv_stem(bencher: Bencher) {
        let (pixels, weight, bias) = (tensor(&[1, 3, INPUT, INPUT], DType::F32), tensor(&[27, 32], DType::F32), tensor(&[32], DType::F32));
        time(bencher, |b| {
            let pixels = b.import(&pixels);
            Ok(ops::conv_stem(b, "conv_stem", pixels, &weight, &bias, DType::F32)?.value)
        });
    }

    #[divan::bench(args = LAYERS)]
    fn avg_pool(bencher: Bencher, l: Layer) {
        let x = tensor(&[l.side * l.side, 4 * l.planes], DType::F32);
        time(bencher, |b| {
            let x = map(b, &x, l.side);
            Ok(ops::avg_pool(b, "avg_pool", x)?.value)
        });
    }

    #[divan::bench]
    fn pool_embed(bencher: Bencher) {
        let (x, positions) = (tensor(&[49, 2048], DType::F32), tensor(&[50, 2048], DType::F32));
        time(bencher, |b| {
            let x = map(b, &x, 7);
            ops::pool_embed(b, "pool_embed", x, &positions)
        });
    }

    #[divan::bench]
    fn unit_values(bencher: Bencher) {
        let qkv = tensor(&[50, 3 * 2048], DType::F32);
        time(bencher, |b| {
            let qkv = b.import(&qkv);
            ops::unit_values(b, "unit_values", qkv, Heads { heads: 32, size: 64 }, 1.0)
        });
    }
}

#[divan::bench(args = MODELS)]
fn patch_embed(bencher: Bencher, m: Model) {
    let (pixels, weight) = (tensor(&[1, 3, INPUT, INPUT], DType::F32), tensor(&[m.width, 3 * m.patch * m.patch], DType::F32));
    let (class, positions) = (tensor(&[m.width], DType::F32), tensor(&[m.tokens, m.width], DType::F32));
    time(bencher, |b| {
        let pixels = b.import(&pixels);
        ops::patch_embed(b, "patch_embed", pixels, m.patch, &weight, Some((&class, &positions)), DType::F32)
    });
}

#[divan::bench(args = MODELS)]
fn token_embed(bencher: Bencher, m: Model) {
    // Prompts of some 13 tokens, as many as stay below the 128 MiB that a binding may have everywhere.
    let count = PROMPTS * 13;
    let pairs: Vec<u32> = (0..count).flat_map(|i| [i % 300, i % 13]).collect();
    let tokens = engine().gpu().upload("bench", &[count, 2], DType::U32, &pairs).expect("uploading bench data");
    let (table, positions) = (tensor(&[300, m.text_width], DType::F32), tensor(&[77, m.text_width], DType::F32));
    time(bencher, |b| ops::token_embed(b, "token_embed", &tokens, &table, &positions, DType::F32));
}

#[divan::bench(args = MODELS)]
fn gather_rows(bencher: Bencher, m: Model) {
    let ends: Vec<u32> = (0..PROMPTS).map(|i| i * 13 + 12).collect();
    let rows = engine().gpu().upload("bench", &[PROMPTS], DType::U32, &ends).expect("uploading bench data");
    let x = tensor(&[PROMPTS * 13, m.text_width], DType::F32);
    time(bencher, |b| {
        let x = b.import(&x);
        ops::gather_rows(b, "gather_rows", x, &rows)
    });
}

#[divan::bench(args = MODELS)]
fn layer_norm(bencher: Bencher, m: Model) {
    let (x, gain) = (tensor(&[m.tokens, m.width], DType::F32), tensor(&[m.width], DType::F32));
    time(bencher, |b| {
        let x = b.import(&x);
        let args = LayerNormArgs { x, first_row: 0, rows: m.tokens, gain: &gain, bias: &gain, eps: 1e-5, merge: None };
        ops::layer_norm(b, "layer_norm", args)
    });
}

#[divan::bench(args = MODELS)]
fn layer_norm_merged(bencher: Bencher, m: Model) {
    let (x, class_x, gain) =
        (tensor(&[m.tokens, m.width], DType::F32), tensor(&[m.tokens, m.width], DType::F32), tensor(&[m.width], DType::F32));
    time(bencher, |b| {
        let (x, class_x) = (b.import(&x), b.import(&class_x));
        let merge = Some(Merge { class_x, class_row: 0, tokens: m.tokens });
        let args = LayerNormArgs { x, first_row: 0, rows: m.tokens, gain: &gain, bias: &gain, eps: 1e-5, merge };
        ops::layer_norm(b, "layer_norm", args)
    });
}

#[divan::bench(args = MODELS)]
fn activation(bencher: Bencher, m: Model) {
    let x = tensor(&[m.tokens, 4 * m.width], DType::F32);
    time(bencher, |b| {
        let x = b.import(&x);
        ops::activation(b, "activation", x, Activation::QuickGelu)
    });
}

/// Patches against patches, at 224 pixels: SC-CLIP's stages.
mod dense {
    use super::*;
    use lancet::reference::{Addend, Pair};

    fn pairs(bencher: Bencher, [tokens, first, width]: [u32; 3], pair: Pair) {
        let x = tensor(&[tokens, width], DType::F32);
        time(bencher, |b| {
            let x = b.import(&x);
            ops::gram(b, "gram", x, tokens, first, pair, 1.0)
        });
    }

    #[divan::bench(args = MODELS)]
    fn gram(bencher: Bencher, m: Model) {
        pairs(bencher, [m.tokens, 1, m.width], Pair::Product);
    }

    /// CLIPtrase: queries, keys and values of all heads, all tokens.
    #[divan::bench(args = MODELS)]
    fn gram_qkv(bencher: Bencher, m: Model) {
        pairs(bencher, [m.tokens, 0, 3 * m.width], Pair::Product);
    }

    #[divan::bench(args = MODELS)]
    fn gram_distances(bencher: Bencher, m: Model) {
        pairs(bencher, [m.tokens, 1, m.width], Pair::Distance);
    }

    /// Of a 512 pixel input.
    #[divan::bench]
    fn gram_512(bencher: Bencher) {
        pairs(bencher, [1025, 1, 768], Pair::Product);
    }

    /// Affinities or distances of an image's patches: symmetric, of order one.
    fn square(n: u32) -> Tensor {
        let data: Vec<f32> = (0..n * n).map(|i| (f32::from(((i / n) ^ (i % n)) as u16) * 0.618).fract()).collect();
        engine().gpu().upload("bench", &[1, n, n], DType::F32, &data).expect("uploading bench data")
    }

    fn of_square(bencher: Bencher, n: u32, build: impl FnOnce(&mut PlanBuilder, Value) -> Result<Value>) {
        let s = square(n);
        time(bencher, |b| {
            let s = b.import(&s);
            build(b, s)
        });
    }

    #[divan::bench(args = [49, 196, 1024])]
    fn affinity_weights(bencher: Bencher, n: u32) {
        of_square(bencher, n, |b, s| ops::affinity_weights(b, "affinity_weights", s, 0.4));
    }

    #[divan::bench(args = [49, 196, 1024])]
    fn affinity_bias(bencher: Bencher, n: u32) {
        let mean = tensor(&[1], DType::F32);
        of_square(bencher, n, |b, s| {
            let mean = b.import(&mean);
            ops::affinity_bias(b, "affinity_bias", s, mean, 3.0)
        });
    }

    #[divan::bench(args = [49, 196, 1024])]
    fn row_mean(bencher: Bencher, n: u32) {
        of_square(bencher, n, |b, s| ops::row_mean(b, "row_mean", s, n));
    }

    #[divan::bench(args = [49, 196, 1024])]
    fn kth_distance(bencher: Bencher, n: u32) {
        of_square(bencher, n, |b, d| ops::kth_distance(b, "kth_distance", d, 30));
    }

    #[divan::bench(args = [49, 196, 1024])]
    fn lof(bencher: Bencher, n: u32) {
        let radii = engine().gpu().upload("bench", &[1, n], DType::F32, &vec![0.1f32; n as usize]).expect("uploading bench data");
        of_square(bencher, n, |b, d| {
            let radii = b.import(&radii);
            ops::lof(b, "lof", d, radii, 30)
        });
    }

    #[divan::bench(args = [49, 196, 1024])]
    fn outliers(bencher: Bencher, n: u32) {
        let scores: Vec<f32> = (0..n).map(|i| 1.0 + (i as f32 * 0.618).fract()).collect();
        let scores = engine().gpu().upload("bench", &[1, n], DType::F32, &scores).expect("uploading bench data");
        time(bencher, |b| {
            let scores = b.import(&scores);
            ops::outliers(b, "outliers", scores, 0.05)
        });
    }

    #[divan::bench(args = MODELS)]
    fn aggregate(bencher: Bencher, m: Model) {
        let n = m.tokens - 1;
        let (weights, x) = (tensor(&[1, n, n.next_multiple_of(4)], DType::F32), tensor(&[m.tokens, m.width], DType::F32));
        time(bencher, |b| {
            let (weights, x) = (b.import(&weights), b.import(&x));
            ops::aggregate(b, "aggregate", weights, x)
        });
    }

    #[divan::bench(args = MODELS)]
    fn repair(bencher: Bencher, m: Model) {
        let (side, n) = ((m.tokens - 1).isqrt(), m.tokens - 1);
        let marks: Vec<u32> = (0..n).map(|i| u32::from(i % 20 == 0)).collect();
        let marks = engine().gpu().upload("bench", &[1, n], DType::U32, &marks).expect("uploading bench data");
        let x = tensor(&[m.tokens, m.width], DType::F32);
        time(bencher, |b| {
            let (x, marks) = (b.import(&x), b.import(&marks));
            ops::repair(b, "repair", x, marks, [side, side])
        });
    }

    #[divan::bench(args = MODELS)]
    fn add(bencher: Bencher, m: Model) {
        let (x, other) = (tensor(&[m.tokens, m.width], DType::F32), tensor(&[m.tokens, m.width], DType::F32));
        time(bencher, |b| {
            let (x, other) = (b.import(&x), b.import(&other));
            ops::add(b, "add", x, other, 0.3, Addend::Rows)
        });
    }
}

/// Queries and keys of a block as directions, the way GEM takes them.
#[divan::bench(args = MODELS)]
fn unit_heads(bencher: Bencher, m: Model) {
    let (x, factor) = (tensor(&[m.tokens, 2 * m.width], DType::F32), tensor(&[1], DType::F32));
    time(bencher, |b| {
        let (x, factor) = (b.import(&x), b.import(&factor));
        ops::unit_heads(b, "unit_heads", x, m.width / m.heads as u32, Some(factor))
    });
}

#[divan::bench(args = MODELS)]
fn mean_norm(bencher: Bencher, m: Model) {
    let x = tensor(&[m.tokens, m.width], DType::F32);
    time(bencher, |b| {
        let x = b.import(&x);
        ops::mean_norm(b, "mean_norm", x, m.tokens, 0.125, true)
    });
}

#[divan::bench(args = MODELS)]
fn l2_normalize(bencher: Bencher, m: Model) {
    let x = tensor(&[m.tokens, m.embed], DType::F32);
    time(bencher, |b| {
        let x = b.import(&x);
        ops::l2_normalize(b, "l2_normalize", x)
    });
}

#[divan::bench(args = MODELS)]
fn ensemble(bencher: Bencher, m: Model) {
    let x = tensor(&[LABELS * 80, m.embed], DType::F32);
    time(bencher, |b| {
        let x = b.import(&x);
        ops::ensemble(b, "ensemble", x, 80)
    });
}

#[divan::bench(args = MODELS)]
fn similarity(bencher: Bencher, m: Model) {
    let (features, labels) = (tensor(&[m.tokens, m.embed], DType::F32), tensor(&[LABELS, m.embed], DType::F32));
    time(bencher, |b| {
        let features = b.import(&features);
        ops::similarity(b, "similarity", features, &labels)
    });
}

#[divan::bench(args = MODELS)]
fn feature_surgery(bencher: Bencher, m: Model) {
    let cosines = tensor(&[m.tokens, LABELS], DType::F32);
    time(bencher, |b| {
        let cosines = b.import(&cosines);
        ops::feature_surgery(b, "feature_surgery", cosines, m.tokens, Surgery::LabelMean { sharpness: 2.0, weight_minuend: true })
    });
}

#[divan::bench(args = MODELS)]
fn minmax(bencher: Bencher, m: Model) {
    let scores = tensor(&[m.tokens, LABELS], DType::F32);
    time(bencher, |b| {
        let scores = b.import(&scores);
        ops::minmax(b, "minmax", scores, m.tokens)
    });
}

#[divan::bench(args = MODELS)]
fn stretch_pixels(bencher: Bencher, m: Model) {
    let side = INPUT / m.patch;
    let maps = tensor(&[LABELS, side * side], DType::F32);
    time(bencher, |b| {
        let maps = b.import(&maps);
        ops::stretch_pixels(b, "stretch_pixels", maps, Resize { from: [side, side], to: [640, 480], align: Align::Centres })
    });
}

#[divan::bench(args = MODELS)]
fn state_scores(bencher: Bencher, m: Model) {
    let cosines = tensor(&[m.tokens, 2], DType::F32);
    time(bencher, |b| {
        let cosines = b.import(&cosines);
        ops::state_scores(b, "state_scores", cosines, 1.0)
    });
}

#[divan::bench(args = MODELS)]
fn mean_filter(bencher: Bencher, m: Model) {
    let side = INPUT / m.patch;
    let scores = tensor(&[1 + side * side, 2], DType::F32);
    time(bencher, |b| {
        let scores = b.import(&scores);
        ops::mean_filter(b, "mean_filter", scores, [side, side])
    });
}

#[divan::bench(args = MODELS)]
fn upsample(bencher: Bencher, m: Model) {
    let side = INPUT / m.patch;
    let maps = tensor(&[1, side * side], DType::F32);
    time(bencher, |b| {
        let maps = b.import(&maps);
        ops::upsample(b, "upsample", maps, [side, side], PHOTO)
    });
}

#[divan::bench(args = MODELS)]
fn stitch(bencher: Bencher, m: Model) {
    // A photo of 4 : 3 in windows of the model's size, half a window apart.
    let windows =
        Windows { canvas: [448, 336], size: [224, 224], columns: vec![0, 112, 224], rows: vec![0, 112], before: [0; 2], after: [0; 2] };
    let scores = tensor(&[6 * m.tokens, LABELS], DType::F32);
    let side = INPUT / m.patch;
    time(bencher, |b| {
        let scores = b.import(&scores);
        ops::stitch(b, "stitch", scores, [side, side], &windows, 0..LABELS)
    });
}

#[divan::bench(args = MODELS)]
fn patch_modes(bencher: Bencher, m: Model) {
    // Blots with noise in them.
    let classes: Vec<u32> = (0..INPUT * INPUT).map(|i| (i % INPUT / 60 + i / INPUT / 50 * 7 + i % 11 / 10) % LABELS).collect();
    let classes = engine().gpu().upload("bench", &[1, INPUT * INPUT], DType::U32, &classes).expect("uploading bench data");
    time(bencher, |b| {
        let classes = b.import(&classes);
        ops::patch_modes(b, "patch_modes", classes, [INPUT; 2], m.patch)
    });
}

/// Sides of a grid: the models' own, and ViT-L/14's at 448 pixels.
#[divan::bench(args = [7, 14, 16, 32])]
fn same_entity(bencher: Bencher, side: u32) {
    let labels: Vec<u32> = (0..side * side).map(|i| i % side * 3 / side + i / side * 3 / side * 7 + i % 11 / 10).collect();
    let labels = engine().gpu().upload("bench", &[1, side * side], DType::U32, &labels).expect("uploading bench data");
    time(bencher, |b| {
        let labels = b.import(&labels);
        ops::same_entity(b, "same_entity", labels, [side, side], true)
    });
}

#[divan::bench(args = MODELS)]
fn blur_rows(bencher: Bencher, m: Model) {
    let same = tensor(&[1, m.tokens - 1, m.tokens - 1], DType::F32);
    time(bencher, |b| {
        let same = b.import(&same);
        Ok(ops::blur_rows(b, "blur_rows", same, 5.0)?.matrix)
    });
}

/// With the blur before it, whose maxima it reads.
#[divan::bench(args = MODELS)]
fn logit_bias(bencher: Bencher, m: Model) {
    let same = tensor(&[1, m.tokens - 1, m.tokens - 1], DType::F32);
    let window = tensor(&[m.tokens, m.tokens.next_multiple_of(4)], DType::F32);
    time(bencher, |b| {
        let same = b.import(&same);
        let related = ops::blur_rows(b, "blur_rows", same, 5.0)?;
        ops::logit_bias(b, "logit_bias", related, 1.5, Some(&window))
    });
}

#[divan::bench(args = MODELS)]
fn window_bias(bencher: Bencher, m: Model) {
    let qkv = tensor(&[m.tokens, 3 * m.width], DType::F32);
    let window = tensor(&[m.tokens, m.tokens.next_multiple_of(4)], DType::F32);
    time(bencher, |b| {
        let qkv = b.import(&qkv);
        ops::window_bias(
            b,
            "window_bias",
            qkv,
            (0, 1),
            Heads { heads: m.heads, size: m.width as usize / m.heads },
            m.tokens,
            &window,
            0.125,
        )
    });
}

#[divan::bench(args = MODELS)]
fn merge_views(bencher: Bencher, m: Model) {
    let side = INPUT / m.patch;
    let scores = tensor(&[ops::VIEWS * m.tokens, LABELS], DType::F32);
    time(bencher, |b| {
        let scores = b.import(&scores);
        ops::merge_views(b, "merge_views", scores, [side, side], 0.75)
    });
}

// ---- the device itself ----

/// Nothing but multiply-adds: what `item/s` of another kernel is a share of.
#[divan::bench]
fn fma_ceiling(bencher: Bencher) {
    let x = tensor(&[1 << 20], DType::F32);
    time(bencher, |b| {
        let x = b.import(&x);
        ops::fma_ceiling(b, "fma_ceiling", x, 2, 0.5)
    });
}

/// Nothing but loads and stores, of more than caches hold.
#[divan::bench]
fn copy_ceiling(bencher: Bencher) {
    let x = tensor(&[8 << 20, 4], DType::U32);
    time(bencher, |b| {
        let x = b.import(&x);
        ops::copy_ceiling(b, "copy_ceiling", x)
    });
}

// ---- the same for every model ----

/// What pictures of data sets have, pixels, and names in a chunk.
const SEGMENTED: [u32; 2] = [640, 480];
const NAMES: u32 = 20;

#[divan::bench]
fn pamr_weights(bencher: Bencher) {
    let image = tensor(&[3, SEGMENTED[1], SEGMENTED[0]], DType::F32);
    time(bencher, |b| {
        let image = b.import(&image);
        ops::pamr_weights(b, "pamr_weights", image, &[8, 16])
    });
}

#[divan::bench]
fn pamr(bencher: Bencher) {
    let maps = tensor(&[NAMES, SEGMENTED[1], SEGMENTED[0]], DType::F32);
    let weights = tensor(&[16, SEGMENTED[1], SEGMENTED[0]], DType::F32);
    time(bencher, |b| {
        let (maps, weights) = (b.import(&maps), b.import(&weights));
        ops::pamr(b, "pamr", maps, weights, &[8, 16])
    });
}

#[divan::bench]
fn segment(bencher: Bencher) {
    let logits = tensor(&[NAMES, SEGMENTED[1], SEGMENTED[0]], DType::F32);
    let rules = ops::segment_rules(&(0..NAMES).collect::<Vec<_>>(), &[], 0.0);
    let rules = engine().gpu().upload("bench", &[rules.len() as u32], DType::U32, &rules).expect("uploading bench data");
    time(bencher, |b| {
        let logits = b.import(&logits);
        let winner = Winner::new(b, 1, SEGMENTED[0] * SEGMENTED[1], false)?;
        ops::segment(b, "segment", logits, 0, 0, &rules, 40.0, &winner)?;
        Ok(winner.classes)
    });
}

#[divan::bench]
fn resize_u8(bencher: Bencher) {
    let rgba = tensor(&[1, PHOTO[1], PHOTO[0]], DType::U32);
    time(bencher, |b| {
        let rgba = b.import(&rgba);
        ops::resize_u8(b, "resize_u8", rgba, [INPUT, INPUT])
    });
}

#[divan::bench]
fn normalize(bencher: Bencher) {
    let rgba = tensor(&[1, INPUT, INPUT], DType::U32);
    time(bencher, |b| {
        let rgba = b.import(&rgba);
        ops::normalize(b, "normalize", rgba, [0.5; 3], [0.5; 3])
    });
}

#[divan::bench]
fn views(bencher: Bencher) {
    let pixels = tensor(&[1, 3, INPUT, INPUT], DType::F32);
    time(bencher, |b| {
        let pixels = b.import(&pixels);
        ops::views(b, "views", pixels, ops::Blur { taps: 11, sigma: 5.0 })
    });
}

#[divan::bench(args = MODELS)]
fn overlay_maps(bencher: Bencher, m: Model) {
    let side = INPUT / m.patch;
    let (maps, rgba) = (tensor(&[OVERLAYS, side * side], DType::F32), tensor(&[1, PHOTO[1], PHOTO[0]], DType::U32));
    time(bencher, |b| {
        let (maps, image) = (b.import(&maps), b.import(&rgba));
        ops::overlay_maps(b, "overlay_maps", maps, 0..OVERLAYS, [side, side], image)
    });
}

fn texture(usage: wgpu::TextureUsages) -> wgpu::TextureView {
    let descriptor = wgpu::TextureDescriptor {
        label: Some("bench"),
        size: wgpu::Extent3d { width: PHOTO[0], height: PHOTO[1], depth_or_array_layers: 1 },
        mip_level_count: 1,
        sample_count: 1,
        dimension: wgpu::TextureDimension::D2,
        format: wgpu::TextureFormat::Rgba8Unorm,
        usage,
        view_formats: &[],
    };
    engine().gpu().device.create_texture(&descriptor).create_view(&wgpu::TextureViewDescriptor::default())
}

#[divan::bench]
fn load_texture(bencher: Bencher) {
    let views = [texture(wgpu::TextureUsages::TEXTURE_BINDING)];
    let mut b = PlanBuilder::new(engine().gpu());
    ops::load_texture(&mut b, "load_texture", 1, PHOTO).expect("planning");
    let mut plan = b.finish(|_| Ok(())).expect("finishing the plan");
    let bytes: u64 = plan.steps().iter().map(|s| s.bytes).sum();
    bencher.counter(BytesCount::new(bytes)).bench_local(|| plan.run_timed(Source::Textures(&views)).expect("running"));
}

#[divan::bench]
fn overlay_texture(bencher: Bencher) {
    let (maps, rgba) = (tensor(&[1, PHOTO[1], PHOTO[0]], DType::F32), tensor(&[1, PHOTO[1], PHOTO[0]], DType::U32));
    let target = texture(wgpu::TextureUsages::STORAGE_BINDING);
    let mut b = PlanBuilder::new(engine().gpu());
    let (maps, image) = (b.import(&maps), b.import(&rgba));
    ops::overlay_texture(&mut b, "overlay_texture", maps, 0, image, &target).expect("planning");
    let mut plan = b.finish(|_| Ok(())).expect("finishing the plan");
    let bytes: u64 = plan.steps().iter().map(|s| s.bytes).sum();
    bencher.counter(BytesCount::new(bytes)).bench_local(|| plan.run_timed(Source::None).expect("running"));
}
