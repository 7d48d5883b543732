//! Attention over packed sequences, its scores and its softmax.

use crate::common::{Output, Random, Tolerance, run, sum_of, upload};
use crate::{ACTS, Case, ROWS};
use lancet::gpu::PlanBuilder;
use lancet::gpu::kernel::{Kernel, Need};
use lancet::ops::{self, AttentionArgs, AttentionSum, Bias, Tiles, WeightedPair};
use lancet::reference::{self, Heads, Projection, Segment};
use lancet::shape::DType;

const QK: (Projection, Projection) = (Projection::Query, Projection::Key);
const VV: (Projection, Projection) = (Projection::Value, Projection::Value);
const QQ: (Projection, Projection) = (Projection::Query, Projection::Query);
const KK: (Projection, Projection) = (Projection::Key, Projection::Key);

/// Probabilities from scores of a few units: an error of a score is the same share of its probability, and the sum of
/// them is one, so the values' own size bounds the rest. The roundings are those of a dot product over a head of 128.
const ATTENTION: Tolerance = Tolerance { absolute: 1e-5, relative: 1e-5 };

/// Scores of +-100: a relative rounding of 6e-8 and the driver's exp (WGSL: 3 + 2 |x| units in the last place) are
/// 2e-5 of a probability there.
const STEEP_ATTENTION: Tolerance = Tolerance { absolute: 2e-4, relative: 2e-4 };

/// Directions stored as halves: 2^-11 of each component, so up to that of a score of 0.5 and of its probability.
const UNIT_HALVES: Tolerance = Tolerance { absolute: 5e-4, relative: 5e-4 };

/// Every kernel of the family that the device runs on such heads.
fn every(case: &Case, heads: Heads, act: DType) -> Vec<&'static Kernel> {
    ops::attention_kernels(case.rig.engine.caps(), heads.size, act).filter(|k| (case.rig.takes)(k)).collect()
}

/// What a kernel is held to where values lie in -spread .. spread: cooperative matrices take probabilities as halves, 2^-12 of each off.
fn within(kernel: &Kernel, tolerance: Tolerance, spread: f32) -> Tolerance {
    match kernel.need {
        Some(Need::Cooperative16) => Tolerance { absolute: tolerance.absolute + f64::from(spread) / 4096.0, ..tolerance },
        _ => tolerance,
    }
}

/// Emulated matrices multiply halves, whatever a case was made for.
fn stored(case: &Case, act: DType) -> DType {
    if case.rig.most == u64::MAX { act } else { DType::F16 }
}

/// True if the device takes on so many pairs of tokens, each of 16 multiply-adds or more.
fn takes_on(case: &Case, pairs: u32) -> bool {
    u64::from(pairs) <= case.rig.most / 16
}

/// One set of sequences under one attention.
struct Run<'a> {
    lengths: &'a [u32],
    heads: Heads,
    causal: bool,
    paths: &'a [(Projection, Projection)],
    act: DType,
    /// Queries, keys and values lie in -spread .. spread.
    spread: f32,
}

fn segments(lengths: &[u32]) -> Vec<Segment> {
    let starts = lengths.iter().scan(0, |next, &len| Some(std::mem::replace(next, *next + len)));
    starts.zip(lengths).map(|(start, &len)| Segment { start, len }).collect()
}

fn check(case: &Case, r: &Run<'_>, tolerance: Tolerance) {
    let r = &Run { act: stored(case, r.act), ..*r };
    let tokens: u32 = r.lengths.iter().sum();
    let width = (r.heads.heads * r.heads.size) as u32;
    if !takes_on(case, r.lengths.iter().map(|&len| len * len).sum()) {
        return;
    }
    let qkv = Random::new(u64::from(tokens + width)).floats((tokens * 3 * width) as usize, r.spread, r.act);
    let segments = segments(r.lengths);
    let scale = (r.heads.size as f32).sqrt().recip();
    let tensor = upload(case.rig, &[tokens, 3 * width], r.act, &qkv);
    let tiles = Tiles::new(case.rig.engine.gpu(), &segments, tokens).expect("tiles");
    let want: Vec<f32> = r.paths.iter().flat_map(|&path| reference::attention(&qkv, &segments, r.heads, scale, r.causal, path)).collect();
    let what = format!(
        "sequences {:?}, {} heads of {}, causal {}, paths {:?}, {}",
        r.lengths, r.heads.heads, r.heads.size, r.causal, r.paths, r.act
    );
    for kernel in every(case, r.heads, r.act) {
        let got = run(case.rig, |b| {
            let qkv = b.import(&tensor);
            let args = AttentionArgs { qkv, tiles: &tiles, heads: r.heads, scale, cap: None, causal: r.causal, paths: r.paths };
            ops::attention_by(b, "y", args, kernel)
        });
        case.by(kernel).close(&what, &got, &want, within(kernel, tolerance, r.spread));
    }
}

pub fn attention(case: &Case) {
    let of = |heads, size| Heads { heads, size };
    let base = Run { lengths: &[50], heads: of(2, 64), causal: false, paths: &[QK], act: DType::F32, spread: 2.0 };
    // Every token count, alone and causal, one path and two; one head at 1,025 for the sake of the reference.
    for tokens in ROWS {
        let heads = if tokens > 500 { of(1, 16) } else { of(2, 64) };
        check(case, &Run { lengths: &[tokens], heads, ..base }, ATTENTION);
        check(case, &Run { lengths: &[tokens], heads, paths: &[QK, VV], act: DType::F16, ..base }, ATTENTION);
        check(case, &Run { lengths: &[tokens], heads, causal: true, ..base }, ATTENTION);
    }
    // Head sizes: below, at and above the 64 channels of one workgroup.
    for size in [4, 8, 48, 64, 68, 80, 88, 104, 128] {
        for act in ACTS {
            check(case, &Run { lengths: &[77], heads: of(3, size), paths: &[QK, VV], act, ..base }, ATTENTION);
        }
    }
    // Every pairing that a method uses, one path and two.
    for paths in [&[VV][..], &[QQ], &[KK], &[QQ, KK], &[VV, QK], &[(Projection::Key, Projection::Query)]] {
        check(case, &Run { paths, ..base }, ATTENTION);
    }
    // Packed sequences of unequal lengths, a batch of equal ones, and the edges of tiles of 32 queries and 64 keys.
    for causal in [false, true] {
        for lengths in [&[3, 77, 1, 16, 50, 9][..], &[197, 197], &[8, 15, 16, 17, 31, 32, 33, 63, 64, 65, 128, 129]] {
            check(case, &Run { lengths, causal, paths: &[QK, VV], ..base }, ATTENTION);
        }
    }
    trie(case);
    unit_values(case);
    sums(case);
    capped(case);
    limits(case);
    // Scores far from zero: later keys outweigh all before, and most probabilities vanish.
    check(case, &Run { lengths: &[257], spread: 12.0, ..base }, STEEP_ATTENTION);
    check(case, &Run { lengths: &[257], spread: 12.0, paths: &[QK, VV], ..base }, STEEP_ATTENTION);
}

/// Rows in depth-first order: each new row hangs below the one before, or below one of its ancestors, or is a root.
fn random_ends(rows: usize, seed: u64, fork: u32) -> Vec<u32> {
    let mut random = Random::new(seed);
    let mut ends = vec![0; rows];
    let mut path: Vec<usize> = Vec::new();
    for row in 0..rows {
        if random.below(fork) == 0 {
            let keep = random.below(path.len() as u32 + 1) as usize;
            path.drain(keep..).for_each(|p| ends[p] = row as u32);
        }
        path.push(row);
    }
    path.iter().for_each(|&p| ends[p] = rows as u32);
    ends
}

/// Texts with shared beginnings.
fn trie(case: &Case) {
    let check = |what: &str, ends: &[u32], size: usize, act: DType, spread: f32, tolerance: Tolerance| {
        let (act, heads) = (stored(case, act), Heads { heads: 2, size });
        let (rows, width) = (ends.len() as u32, 2 * size as u32);
        if !takes_on(case, rows * rows) {
            return;
        }
        let qkv = Random::new(u64::from(rows)).floats((rows * 3 * width) as usize, spread, act);
        let scale = (size as f32).sqrt().recip();
        let tensor = upload(case.rig, &[rows, 3 * width], act, &qkv);
        let tiles = Tiles::trie(case.rig.engine.gpu(), ends).expect("tiles");
        let want = reference::attention_trie(&qkv, ends, heads, scale, QK);
        for kernel in every(case, heads, act) {
            let got = run(case.rig, |b| {
                let qkv = b.import(&tensor);
                let args = AttentionArgs { qkv, tiles: &tiles, heads, scale, cap: None, causal: true, paths: &[QK] };
                ops::attention_by(b, "y", args, kernel)
            });
            case.by(kernel).close(
                &format!("a trie of {rows} rows, {what}, heads of {size}, {act}"),
                &got,
                &want,
                within(kernel, tolerance, spread),
            );
        }
    };
    // One branch is a sequence under a causal mask; more than 64 keys, and a tile whose rows see none of the first 64.
    for rows in [1, 7, 50, 77, 197] {
        check("one branch", &vec![rows; rows as usize], 64, DType::F32, 2.0, ATTENTION);
        check("all roots", &(1..=rows).collect::<Vec<_>>(), 64, DType::F32, 2.0, ATTENTION);
    }
    let mut late = vec![96; 96];
    late.extend(97..=120);
    check("a long branch, then roots in its last tile", &late[..], 64, DType::F32, 2.0, ATTENTION);
    late[80..96].iter_mut().enumerate().for_each(|(i, end)| *end = 81 + i as u32);
    check("a long branch, then leaves", &late[..], 64, DType::F32, 2.0, ATTENTION);
    for (i, fork) in [2, 3, 8].into_iter().enumerate() {
        for act in ACTS {
            check(&format!("a fork every {fork}"), &random_ends(257, i as u64, fork), [64, 80, 128][i], act, 2.0, ATTENTION);
        }
    }
    check("steep", &random_ends(197, 5, 3), 64, DType::F32, 12.0, STEEP_ATTENTION);
}

/// Queries and keys that are the values' directions, beside the ordinary pair: `unit_values` in front, as a ResNet's pool.
fn unit_values(case: &Case) {
    let (tokens, heads, unit) = (50u32, Heads { heads: 2, size: 64 }, (Projection::UnitValue, Projection::UnitValue));
    let width = (heads.heads * heads.size) as u32;
    for act in ACTS {
        let qkv = Random::new(3).floats((tokens * 3 * width) as usize, 2.0, act);
        let tensor = upload(case.rig, &[tokens, 3 * width], act, &qkv);
        let want: Vec<f32> =
            [QK, unit].iter().flat_map(|&path| reference::attention(&qkv, &segments(&[tokens]), heads, 0.5, false, path)).collect();
        for kernel in every(case, heads, act) {
            let got = run(case.rig, |b| {
                let qkv = b.import(&tensor);
                let qkv = ops::unit_values(b, "u", qkv, heads, 1.0)?;
                let tiles = Tiles::equal(case.rig.engine.gpu(), 1, tokens)?;
                let args = AttentionArgs { qkv, tiles: &tiles, heads, scale: 0.5, cap: None, causal: false, paths: &[QK, unit] };
                ops::attention_by(b, "y", args, kernel)
            });
            let tolerance = if act == DType::F16 { UNIT_HALVES } else { ATTENTION };
            case.by(kernel).close(&format!("unit values, {act}"), &got, &want, within(kernel, tolerance, 2.0));
        }
    }
}

/// Weighted sums: one term and two, P, Q and V of different matrices, biases of all kinds, on top of what is there.
fn sums(case: &Case) {
    let heads = Heads { heads: 2, size: 64 };
    let width = 128usize;
    let gpu = case.rig.engine.gpu();
    let packings = [(1u32, 1u32, false), (7, 2, true), (50, 2, false), (77, 1, true), (197, 2, true), (257, 1, false)];
    for (tokens, images, patches) in packings.into_iter().filter(|&(tokens, ..)| takes_on(case, tokens * tokens)) {
        for act in ACTS {
            let rows = images * tokens;
            let mut random = Random::new(u64::from(rows));
            let mut data = |columns: usize| random.floats(rows as usize * columns * width, 2.0, act);
            let (source, values, base) = (data(3), data(2), data(1));
            let len = if patches { tokens - 1 } else { tokens } as usize;
            let stride = len.next_multiple_of(4);
            let mut padded = |matrices: usize| -> Vec<f32> {
                let mut bias = random.floats(matrices * len * stride, 2.0, DType::F32);
                // Forbidden pairs, but never a token and itself; padding that must not be read as a key.
                bias.iter_mut().enumerate().filter(|(i, _)| i % 5 == 0 && i / stride % len != i % stride).for_each(|(_, x)| *x = -1e30);
                bias.iter_mut().enumerate().filter(|(i, _)| i % stride >= len).for_each(|(_, x)| *x = 1e30);
                bias
            };
            let (shared, each) = (padded(1), padded(images as usize));
            let put = |dims: &[u32], data: &[f32], act| upload(case.rig, dims, act, data);
            let w = width as u32;
            let tensors = [put(&[rows, 3 * w], &source, act), put(&[rows, 2 * w], &values, act), put(&[rows, w], &base, act)];
            let (l, s) = (len as u32, stride as u32);
            let biases = [put(&[l, s], &shared, DType::F32), put(&[images, l, s], &each, DType::F32)];
            let tiles = if patches { Tiles::patches(gpu, images, tokens) } else { Tiles::equal(gpu, images, tokens) }.expect("tiles");
            let term = |columns, weight| WeightedPair { columns, weight };
            let table = [
                (&[term((0, 1), 1.0)][..], 0.125, 0, false),
                (&[term((0, 0), 1.0), term((1, 1), 1.0)], 0.125, 1, true),
                (&[term((2, 2), 0.5), term((0, 1), -1.5)], 0.3, 2, true),
                (&[term((1, 1), 2.0)], 0.0, 2, false),
            ];
            for (terms, scale, kind, based) in table {
                let bias = [None, Some((&shared[..], stride)), Some((&each[..], stride))][kind];
                let columns = |i: usize| values.chunks(2 * width).flat_map(|row| row[i * width..][..width].to_vec()).collect::<Vec<_>>();
                let mut segments = segments(&vec![tokens; images as usize]);
                if patches {
                    segments.iter_mut().for_each(|s| *s = Segment { start: s.start + 1, len: s.len - 1 });
                }
                let want: Vec<_> = terms
                    .iter()
                    .map(|t| {
                        let columns = (t.columns.0 as usize, t.columns.1 as usize);
                        reference::SumTerm { source: &source, columns, weight: t.weight, scale, bias }
                    })
                    .collect();
                let mut want = reference::attention_sum(&want, &columns(1), &segments, heads);
                if patches {
                    // The class token alone: its own value, by every term.
                    let total: f32 = terms.iter().map(|t| t.weight).sum();
                    for image in 0..images as usize {
                        let row = image * tokens as usize;
                        (0..width).for_each(|c| want[row * width + c] = total * values[row * 2 * width + width + c]);
                    }
                }
                if based {
                    want.iter_mut().zip(&base).for_each(|(w, b)| *w += b);
                }
                let spread = 2.0 * terms.iter().map(|t| t.weight.abs()).sum::<f32>();
                for kernel in every(case, heads, act) {
                    let got = run(case.rig, |b| {
                        let [source, values, base] = [0, 1, 2].map(|i| b.import(&tensors[i]));
                        let bias = match kind {
                            0 => None,
                            1 => Some(Bias::Shared(&biases[0])),
                            _ => Some(Bias::Each(b.import(&biases[1]))),
                        };
                        let base = based.then_some(base);
                        ops::attention_sum_by(
                            b,
                            "y",
                            AttentionSum { source, terms, values, value_column: 1, tiles: &tiles, heads, scale, cap: None, bias, base },
                            kernel,
                        )
                    });
                    let what = format!("a sum of {terms:?}, {images} x {tokens}, bias {kind}, {act}");
                    case.by(kernel).close(&what, &got, &want, within(kernel, ATTENTION, spread));
                }
            }
        }
    }
}

/// Directions compared by a growing scale see themselves alone, the identity; values of one give the sum of the weights.
fn limits(case: &Case) {
    let (tokens, heads, width) = (77u32, Heads { heads: 2, size: 64 }, 128u32);
    let act = stored(case, DType::F32);
    let qkv = Random::new(31).floats((tokens * 3 * width) as usize, 2.0, act);
    let tensor = upload(case.rig, &[tokens, 3 * width], act, &qkv);
    let ones = upload(case.rig, &[tokens, width], act, &vec![1.0; (tokens * width) as usize]);
    let tiles = Tiles::equal(case.rig.engine.gpu(), 1, tokens).expect("tiles");
    let values: Vec<f32> = qkv.chunks(3 * width as usize).flat_map(|row| row[2 * width as usize..].to_vec()).collect();
    let of = |columns, weight| WeightedPair { columns, weight };
    for kernel in every(case, heads, act) {
        let sum = |b: &mut PlanBuilder, values: lancet::gpu::Value, value_column, scale, terms: &[WeightedPair]| {
            let qkv = b.import(&tensor);
            let source = ops::unit_heads(b, "unit", qkv, 64, None)?;
            let args = AttentionSum { source, terms, values, value_column, tiles: &tiles, heads, scale, cap: None, bias: None, base: None };
            ops::attention_sum_by(b, "y", args, kernel)
        };
        let got = run(case.rig, |b| {
            let values = b.import(&tensor);
            sum(b, values, 2, 1e4, &[of((2, 2), 1.0)])
        });
        case.by(kernel).close("unit values by a large scale", &got, &values, within(kernel, ATTENTION, 2.0));
        for (terms, want) in [(&[of((0, 0), 1.0), of((1, 1), 1.0)][..], 2.0), (&[of((2, 2), 0.25)], 0.25)] {
            let got = run(case.rig, |b| {
                let ones = b.import(&ones);
                sum(b, ones, 0, 0.5, terms)
            });
            let want = vec![want; (tokens * width) as usize];
            case.by(kernel).close(&format!("values of one by {terms:?}"), &got, &want, within(kernel, ATTENTION, 2.0));
        }
    }
}

/// Scores under a soft cap, alone, causal and by two paths; a cap far beyond them, and scores far beyond it.
fn capped(case: &Case) {
    let act = stored(case, DType::F32);
    let all = [(1u32, 2.0, 30.0), (7, 2.0, 0.5), (50, 4.0, 2.0), (197, 3.0, 30.0), (77, 60.0, 1.5)];
    for (tokens, spread, cap) in all.into_iter().filter(|&(tokens, ..)| takes_on(case, tokens * tokens)) {
        for (causal, paths) in [(false, &[QK][..]), (true, &[QK]), (false, &[QK, VV])] {
            let heads = Heads { heads: 2, size: 16 };
            let qkv = Random::new(u64::from(tokens)).floats((tokens * 96) as usize, spread, act);
            let (tensor, segments) = (upload(case.rig, &[tokens, 96], act, &qkv), segments(&[tokens]));
            let tiles = Tiles::new(case.rig.engine.gpu(), &segments, tokens).expect("tiles");
            let one = |&path: &_| reference::attention_capped(&qkv, &segments, heads, 0.25, Some(cap), causal, path);
            let want: Vec<f32> = paths.iter().flat_map(one).collect();
            // Values of up to `spread` are averaged.
            let tolerance = Tolerance { absolute: ATTENTION.absolute * f64::from(spread).max(1.0), ..ATTENTION };
            for kernel in every(case, heads, act) {
                let got = run(case.rig, |b| {
                    let args = AttentionArgs { qkv: b.import(&tensor), tiles: &tiles, heads, scale: 0.25, cap: Some(cap), causal, paths };
                    ops::attention_by(b, "y", args, kernel)
                });
                let what = format!("{tokens} tokens, causal {causal}, paths {paths:?}, cap {cap}");
                case.by(kernel).close(&what, &got, &want, within(kernel, tolerance, spread));
            }
        }
    }
}

pub fn attention_scores(case: &Case) {
    let table = [(1u32, 1u32, 1usize, 4usize), (2, 7, 3, 48), (1, 50, 2, 64), (2, 77, 2, 80), (1, 197, 1, 88), (3, 17, 2, 104)];
    for (i, &(images, tokens, heads, size)) in table.iter().enumerate() {
        for act in ACTS {
            let (causal, path) = (i % 2 == 1, [QK, VV, QQ, KK][i % 4]);
            let heads = Heads { heads, size };
            let width = (heads.heads * size) as u32;
            let qkv = Random::new(i as u64).floats((images * tokens * 3 * width) as usize, 1.0, act);
            let tensor = upload(case.rig, &[images * tokens, 3 * width], act, &qkv);
            let got = run(case.rig, |b| {
                let qkv = b.import(&tensor);
                ops::attention_scores(b, "y", qkv, images, heads, 0.125, causal, path)
            });
            let want = reference::attention_scores(&qkv, &segments(&vec![tokens; images as usize]), heads, 0.125, causal, path);
            case.close(
                &format!("{images} x {tokens} tokens, {} heads of {size}, causal {causal}, {act}", heads.heads),
                &got,
                &want,
                sum_of(size, 0.125),
            );
        }
    }
}

pub fn softmax(case: &Case) {
    let soft = |rows: u32, width: u32, x: &[f32]| -> Output {
        let tensor = upload(case.rig, &[rows, width], DType::F32, x);
        run(case.rig, |b| {
            let x = b.import(&tensor);
            ops::softmax(b, "y", x)
        })
    };
    // Rounding of exp and of the sum, relative to a probability.
    let tolerance = Tolerance { absolute: 1e-7, relative: 1e-5 };
    for (rows, width) in [(1, 1), (7, 1), (50, 50), (77, 63), (3, 64), (5, 65), (197, 197), (7, 1025), (65_537, 3)] {
        let mut x = Random::new(u64::from(width)).floats((rows * width) as usize, 10.0, DType::F32);
        // As behind a causal mask; where the width is 1 the row is masked whole and its softmax is 1.
        x.iter_mut().step_by(11).for_each(|v| *v = -1e30);
        case.close(&format!("{rows} rows of {width}"), &soft(rows, width, &x), &reference::softmax(&x, width as usize), tolerance);
    }
}
