//! Kernels over rows of channels.

use crate::common::{FEW_ROUNDINGS, Random, Tolerance, rounded, run, upload};
use crate::{ACTS, Case, ROWS};
use lancet::ops::{self, LayerNormArgs, Merge};
use lancet::reference::{self, Activation, Addend};
use lancet::shape::DType;

const EPS: f32 = 1e-5;

/// Mean and variance over some thousand values of order one, in 64 partial sums.
const NORMALISED: Tolerance = Tolerance { absolute: 5e-6, relative: 5e-6 };

pub fn layer_norm(case: &Case) {
    let widths = [768, 48, 4, 252, 256, 260, 64];
    for (&rows, width) in ROWS.iter().zip(widths).chain([(&65_537, 4), (&3, 1664)]) {
        // Beyond 65,535 rows the dispatch is folded, which has nothing to do with storage: once is enough.
        let acts = if rows > 65_535 { &ACTS[..1] } else { &ACTS };
        for &act in acts {
            let mut random = Random::new(u64::from(rows));
            // A row far from zero: its variance would be lost by the one-pass formula. (Four values may lie close together
            // by chance, and then no formula is exact.)
            let centre = if width > 4 { 20.0 } else { 0.0 };
            let x: Vec<f32> = random.floats((rows * width) as usize, 1.0, DType::F32).iter().map(|v| rounded(v + centre, act)).collect();
            let (gain, bias) = (random.floats(width as usize, 1.0, DType::F32), random.floats(width as usize, 1.0, DType::F32));
            let (gt, bt) = (upload(case.rig, &[width], DType::F32, &gain), upload(case.rig, &[width], DType::F32, &bias));
            let xt = upload(case.rig, &[rows, width], act, &x);
            // Rounding the mean (20) costs 2e-6 of the deviation (0.6), four times that with the sum before it.
            let tolerance = Tolerance { absolute: 2e-5, ..NORMALISED };
            let want = reference::layer_norm(&x, &gain, &bias, EPS);
            for kernel in ops::layer_norm_kernels(case.rig.engine.caps(), width) {
                let got = run(case.rig, |b| {
                    let args = LayerNormArgs { x: b.import(&xt), first_row: 0, rows, gain: &gt, bias: &bt, eps: EPS, merge: None };
                    ops::layer_norm_by(b, "y", args, kernel)
                });
                case.by(kernel).close(&format!("{rows} rows of {width} around {centre}, {act}"), &got, &want, tolerance);
            }
        }
    }
    row_ranges_and_merge(case);
}

/// The end of CLIP Surgery: the lower half of a dual stream, class rows from the ordinary one.
fn row_ranges_and_merge(case: &Case) {
    for (images, tokens, width) in [(1usize, 50usize, 132usize), (3, 50, 132), (1, 197, 136), (3, 7, 136)] {
        for act in ACTS {
            let rows = images * tokens;
            let mut random = Random::new(images as u64);
            // Two streams of `rows` rows below three rows that nobody reads.
            let x = random.floats((3 + 2 * rows) * width, 2.0, act);
            let class_x = random.floats((1 + rows) * width, 2.0, act);
            let (gain, bias) = (random.floats(width, 1.0, DType::F32), random.floats(width, 1.0, DType::F32));
            let (gt, bt) = (upload(case.rig, &[width as u32], DType::F32, &gain), upload(case.rig, &[width as u32], DType::F32, &bias));
            let (xt, ct) = (
                upload(case.rig, &[(3 + 2 * rows) as u32, width as u32], act, &x),
                upload(case.rig, &[(1 + rows) as u32, width as u32], act, &class_x),
            );
            let first_row = 3 + rows;
            let (patches, classes) = (&x[first_row * width..], &class_x[width..]);
            let plain = reference::layer_norm(patches, &gain, &bias, EPS);
            let merged = reference::layer_norm_merged(patches, classes, tokens, &gain, &bias, EPS);
            for kernel in ops::layer_norm_kernels(case.rig.engine.caps(), width as u32) {
                let norm = |merge: bool| {
                    run(case.rig, |b| {
                        let (x, class_x) = (b.import(&xt), b.import(&ct));
                        let merge = merge.then_some(Merge { class_x, class_row: 1, tokens: tokens as u32 });
                        let (first_row, rows) = (first_row as u32, rows as u32);
                        let args = LayerNormArgs { x, first_row, rows, gain: &gt, bias: &bt, eps: EPS, merge };
                        ops::layer_norm_by(b, "y", args, kernel)
                    })
                };
                case.by(kernel).close(&format!("rows from {first_row}, {act}"), &norm(false), &plain, NORMALISED);
                case.by(kernel).close(&format!("{images} class rows from elsewhere, {act}"), &norm(true), &merged, NORMALISED);
            }
        }
    }
}

pub fn l2_normalize(case: &Case) {
    for (rows, width) in [(1u32, 4u32), (7, 512), (50, 48), (197, 768), (257, 260), (65_537, 4)] {
        for act in ACTS {
            let mut x = Random::new(u64::from(rows)).floats((rows * width) as usize, 3.0, act);
            x[..width as usize].fill(0.0); // a zero row stays zero
            let tensor = upload(case.rig, &[rows, width], act, &x);
            let got = run(case.rig, |b| {
                let x = b.import(&tensor);
                ops::l2_normalize(b, "y", x)
            });
            assert_eq!(got.dtype, DType::F32, "unit rows are never stored in half");
            case.close(&format!("{rows} rows of {width}, {act}"), &got, &reference::l2_normalize(&x, width as usize), NORMALISED);
        }
    }
}

pub fn unit_heads(case: &Case) {
    // A root and a division, each good to some units in the last place.
    let tolerance = Tolerance { absolute: 1e-6, relative: 2e-6 };
    let shapes = [(1, 4), (3, 48), (12, 64), (1, 768), (36, 64), (5, 12), (2, 252)];
    for (&tokens, (heads, size)) in ROWS.iter().zip(shapes) {
        for images in [1u32, 3] {
            for act in ACTS {
                let (rows, width) = (images * tokens, heads * size);
                let mut random = Random::new(u64::from(rows));
                let mut x = random.floats((rows * width) as usize, 3.0, act);
                x[..size as usize].fill(0.0);
                let factors = random.floats(images as usize, 4.0, DType::F32);
                let (xt, ft) = (upload(case.rig, &[rows, width], act, &x), upload(case.rig, &[images], DType::F32, &factors));
                for scaled in [false, true] {
                    let got = run(case.rig, |b| {
                        let (x, factor) = (b.import(&xt), b.import(&ft));
                        ops::unit_heads(b, "y", x, size, scaled.then_some(factor))
                    });
                    assert_eq!((&got.shape[..], got.dtype), (&[rows, width][..], act));
                    let want = reference::unit_heads(&x, size as usize, if scaled { &factors } else { &[] });
                    let what = format!("{images} x {tokens} tokens, {heads} heads of {size}, {act}, scaled: {scaled}");
                    case.close(&what, &got, &want, tolerance);
                }
            }
        }
    }
}

pub fn mean_norm(case: &Case) {
    // Positive terms: roundings of the sums stay relative.
    let tolerance = Tolerance { absolute: 0.0, relative: 5e-6 };
    for (&tokens, width) in ROWS.iter().zip([4, 48, 768, 1024, 768, 260, 128]) {
        for images in [1u32, 3] {
            for act in ACTS {
                let x = Random::new(u64::from(tokens)).floats((images * tokens * width) as usize, 3.0, act);
                let tensor = upload(case.rig, &[images * tokens, width], act, &x);
                for root in [false, true] {
                    let got = run(case.rig, |b| {
                        let x = b.import(&tensor);
                        ops::mean_norm(b, "y", x, tokens, 0.125, root)
                    });
                    assert_eq!(got.dtype, DType::F32, "a mean is never stored in half");
                    let want = reference::mean_norm(&x, tokens as usize, width as usize, 0.125, root);
                    case.close(&format!("{images} x {tokens} rows of {width}, {act}, root: {root}"), &got, &want, tolerance);
                }
            }
        }
    }
}

pub fn activation(case: &Case) {
    // Steps of 1/64 over -32 .. 32, then what overflows exp in f32.
    let mut x: Vec<f32> = (-2048..2048).map(|i| i as f32 / 64.0).collect();
    x.extend([-60.0, -1e3, -3e4, -6e4, 60.0, 1e3, 3e4, 6e4]);
    // Small ones keep their relative accuracy; sigmoid and erf themselves are good to 1.2e-7 and the driver's exp.
    let tolerance = Tolerance { absolute: 1e-6, relative: 2e-6 };
    for kind in [Activation::None, Activation::QuickGelu, Activation::Gelu, Activation::Relu] {
        for act in ACTS {
            let tensor = upload(case.rig, &[x.len() as u32 / 4, 4], act, &x);
            let got = run(case.rig, |b| {
                let x = b.import(&tensor);
                ops::activation(b, "y", x, kind)
            });
            let want = reference::activation(&x, kind);
            case.close(&format!("{kind:?}, {act}"), &got, &want, tolerance);
        }
        for rows in ROWS {
            let x = Random::new(u64::from(rows)).floats((rows * 20) as usize, 4.0, DType::F32);
            let tensor = upload(case.rig, &[rows, 20], DType::F32, &x);
            let got = run(case.rig, |b| {
                let x = b.import(&tensor);
                ops::activation(b, "y", x, kind)
            });
            case.close(&format!("{rows} rows, {kind:?}"), &got, &reference::activation(&x, kind), FEW_ROUNDINGS);
        }
    }
}

pub fn add(case: &Case) {
    for (&tokens, width) in ROWS.iter().zip([4u32, 48, 768, 1024, 64, 260, 128]) {
        for images in [1u32, 3] {
            for act in ACTS {
                let (rows, mut random) = (images * tokens, Random::new(u64::from(tokens)));
                let (x, other) = (random.floats((rows * width) as usize, 2.0, act), random.floats((rows * width) as usize, 2.0, act));
                let (xt, ot) = (upload(case.rig, &[rows, width], act, &x), upload(case.rig, &[rows, width], act, &other));
                for addend in [Addend::Rows, Addend::ClassRow { tokens: tokens as usize }] {
                    let got = run(case.rig, |b| {
                        let (x, other) = (b.import(&xt), b.import(&ot));
                        ops::add(b, "y", x, other, 0.3, addend)
                    });
                    let want = reference::add(&x, &other, width as usize, 0.3, addend);
                    case.close(&format!("{images} x {tokens} rows of {width}, {addend:?}, {act}"), &got, &want, FEW_ROUNDINGS);
                }
            }
        }
    }
}
