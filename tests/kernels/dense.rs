//! Kernels of patches against patches: how alike they are, which stand out, and what becomes of them.

use crate::common::{FEW_ROUNDINGS, Output, Random, Rig, Tolerance, rounded, run, sum_of, upload, upload_u32};
use crate::{ACTS, Case, ROWS};
use lancet::Result;
use lancet::gpu::{PlanBuilder, Tensor, Value};
use lancet::ops;
use lancet::reference::{self, Pair};
use lancet::shape::DType;

/// Sums of positive terms: their roundings stay relative. Some hundred terms in order.
const POSITIVE: Tolerance = Tolerance { absolute: 1e-6, relative: 1e-5 };

/// Of a plan that must not be built.
fn refused(rig: &Rig, tensor: &Tensor, build: impl FnOnce(&mut PlanBuilder, Value) -> Result<Value>) -> String {
    let mut b = PlanBuilder::new(rig.engine.gpu());
    let x = b.import(tensor);
    build(&mut b, x).expect_err("accepted").to_string()
}

/// Points in space and their squared distances.
fn distances(seed: usize, images: usize, n: usize) -> Vec<f32> {
    let points = Random::new(seed as u64).floats(images * n * 8, 1.0, DType::F32);
    reference::gram(&points, n, 8, 0, Pair::Distance, 1.0)
}

pub fn gram(case: &Case) {
    let shapes = ROWS.iter().zip([4u32, 48, 768, 256, 2304, 260, 64]);
    for (&tokens, width) in shapes {
        for (images, first) in [(1u32, 0u32), (3, 1)] {
            if tokens == first || images * tokens > 1025 {
                continue;
            }
            for act in ACTS {
                let x = Random::new(u64::from(tokens)).floats((images * tokens * width) as usize, 1.0, act);
                // Rows far from zero and near each other: distances by way of products would be lost.
                let far: Vec<f32> = x.iter().map(|v| rounded(20.0 + v / 64.0, act)).collect();
                // On the diagonal all terms are positive.
                let products = Tolerance { relative: POSITIVE.relative, ..sum_of(width as usize, 0.25) };
                for (pair, x, tolerance) in [(Pair::Product, &x, products), (Pair::Distance, &far, Tolerance { absolute: 0.0, ..POSITIVE })]
                {
                    let tensor = upload(case.rig, &[images * tokens, width], act, x);
                    let got = run(case.rig, |b| {
                        let x = b.import(&tensor);
                        ops::gram(b, "y", x, tokens, first, pair, 0.25)
                    });
                    let n = tokens - first;
                    assert_eq!((&got.shape[..], got.dtype), (&[images, n, n][..], DType::F32));
                    let want = reference::gram(x, tokens as usize, width as usize, first as usize, pair, 0.25);
                    case.close(&format!("{images} x {tokens} tokens of {width} from {first}, {pair:?}, {act}"), &got, &want, tolerance);
                    symmetric(&got, n as usize);
                }
            }
        }
    }
    let x = upload(case.rig, &[10, 4], DType::F32, &[0.0; 40]);
    for (tokens, first, part) in [(3, 0, "divisor of the 10 rows"), (5, 5, "below the 5 tokens")] {
        let message = refused(case.rig, &x, |b, x| ops::gram(b, "y", x, tokens, first, Pair::Product, 1.0));
        assert!(message.contains(part), "{message}");
    }
}

/// To the last bit: outliers read columns for rows.
fn symmetric(got: &Output, n: usize) {
    for image in got.words().chunks_exact(n * n) {
        assert!((0..n * n).all(|i| image[i] == image[i % n * n + i / n]), "not symmetric");
    }
}

pub fn affinity_weights(case: &Case) {
    for (i, &n) in ROWS.iter().enumerate() {
        for images in [1u32, 2] {
            let count = images * n * n;
            let s = Random::new(i as u64).floats(count as usize, 1.0, DType::F32);
            let tensor = upload(case.rig, &[images, n, n], DType::F32, &s);
            for beta in [0.4, 2.0] {
                let got = run(case.rig, |b| {
                    let s = b.import(&tensor);
                    ops::affinity_weights(b, "y", s, beta)
                });
                let want = reference::affinity_weights(&s, n as usize, beta);
                case.close(&format!("{images} x {n} patches, beta {beta}"), &got, &want, POSITIVE);
            }
        }
    }
    let s = upload(case.rig, &[2, 3, 4], DType::F32, &[0.0; 24]);
    assert!(refused(case.rig, &s, |b, s| ops::affinity_weights(b, "y", s, 0.4)).contains("[B, N, N]"));
}

pub fn aggregate(case: &Case) {
    for (i, (&n, width)) in ROWS.iter().zip([4u32, 48, 768, 132, 64, 260, 16]).enumerate() {
        for images in [1u32, 3] {
            if images * n > 1025 {
                continue;
            }
            let mut random = Random::new(i as u64);
            let weights = reference::affinity_weights(&random.floats((images * n * n) as usize, 1.0, DType::F32), n as usize, 0.0);
            let wt = upload(case.rig, &[images, n, n.next_multiple_of(4)], DType::F32, &weights);
            for act in ACTS {
                let x = random.floats((images * (1 + n) * width) as usize, 2.0, act);
                let xt = upload(case.rig, &[images * (1 + n), width], act, &x);
                let got = run(case.rig, |b| {
                    let (weights, x) = (b.import(&wt), b.import(&xt));
                    ops::aggregate(b, "y", weights, x)
                });
                let want = reference::aggregate(&weights, &x, n as usize, width as usize);
                // A weighted mean: no term grows with their number.
                case.close(&format!("{images} x {n} patches of {width}, {act}"), &got, &want, Tolerance { absolute: 5e-6, relative: 1e-6 });
            }
        }
    }
    let (x, weights) = (upload(case.rig, &[11, 4], DType::F32, &[0.0; 44]), upload(case.rig, &[2, 5, 8], DType::F32, &[0.0; 80]));
    let message = refused(case.rig, &x, |b, x| {
        let weights = b.import(&weights);
        ops::aggregate(b, "y", weights, x)
    });
    assert!(message.contains("[2 (1 + 5), C]"), "{message}");
}

pub fn affinity_bias(case: &Case) {
    for (i, &n) in ROWS.iter().enumerate() {
        for images in [1u32, 3] {
            // Steps of 1/1024 and means between them: whether an entry is above does not hang on a rounding.
            let s: Vec<f32> =
                Random::new(i as u64).floats((images * n * n) as usize, 1024.0, DType::F32).iter().map(|v| v.round() / 1024.0).collect();
            let mean: Vec<f32> = (0..images).map(|i| (i as f32 * 37.0 + 0.5) / 1024.0).collect();
            let (st, mt) = (upload(case.rig, &[images, n, n], DType::F32, &s), upload(case.rig, &[images], DType::F32, &mean));
            let got = run(case.rig, |b| {
                let (s, mean) = (b.import(&st), b.import(&mt));
                ops::affinity_bias(b, "y", s, mean, 3.0)
            });
            assert_eq!(got.shape, [images, n, n.next_multiple_of(4)]);
            case.close(&format!("{images} x {n} patches"), &got, &reference::affinity_bias(&s, &mean, n as usize, 3.0), FEW_ROUNDINGS);
        }
    }
}

pub fn row_mean(case: &Case) {
    for (rows, width) in [(1u32, 1u32), (7, 77), (3, 197 * 197), (1025, 1025), (65_537, 3)] {
        let x = Random::new(u64::from(rows)).floats((rows * width) as usize, 1.0, DType::F32);
        // The shape does not matter, the number of rows does.
        let tensor = upload(case.rig, &[rows * width], DType::F32, &x);
        let got = run(case.rig, |b| {
            let x = b.import(&tensor);
            ops::row_mean(b, "y", x, rows)
        });
        assert_eq!(got.shape, [rows]);
        let want = reference::row_mean(&x, width as usize);
        case.close(&format!("{rows} rows of {width}"), &got, &want, FEW_ROUNDINGS);
    }
}

pub fn kth_distance(case: &Case) {
    for (i, &n) in ROWS.iter().enumerate().skip(1) {
        for (images, k) in [(1u32, 1u32), (2, 5), (1, 30), (2, n - 1)] {
            if k >= n || (n > 300 && k != 30) {
                continue;
            }
            let exact = distances(i, images as usize, n as usize);
            // Many ties, zeros among them.
            let coarse: Vec<f32> = exact.iter().map(|v| v.floor()).collect();
            for (what, d) in [("", &exact), (" with ties", &coarse)] {
                let tensor = upload(case.rig, &[images, n, n], DType::F32, d);
                let got = run(case.rig, |b| {
                    let d = b.import(&tensor);
                    ops::kth_distance(b, "y", d, k)
                });
                let want: Vec<u32> = reference::kth_distance(d, n as usize, k as usize).iter().map(|v| v.to_bits()).collect();
                case.exact(&format!("{images} x {n} points, k {k}{what}"), &got, &want);
            }
        }
    }
    let few = upload(case.rig, &[1, 30, 30], DType::F32, &[0.0; 900]);
    let message = refused(case.rig, &few, |b, d| ops::kth_distance(b, "y", d, 30));
    assert!(message.contains("more than 30") && message.contains("is 30") && message.contains("larger input"), "{message}");
}

pub fn lof(case: &Case) {
    for (i, &n) in ROWS.iter().enumerate().skip(1) {
        for (images, k) in [(1u32, 3u32), (2, 30)] {
            if k >= n {
                continue;
            }
            let exact = distances(i, images as usize, n as usize);
            let coarse: Vec<f32> = exact.iter().map(|v| (v * 2.0).floor()).collect();
            let zero = vec![0.0; exact.len()];
            for (what, d) in [("", &exact), (" with ties", &coarse), (" that coincide", &zero)] {
                let radii = reference::kth_distance(d, n as usize, k as usize);
                let (dt, rt) = (upload(case.rig, &[images, n, n], DType::F32, d), upload(case.rig, &[images, n], DType::F32, &radii));
                let got = run(case.rig, |b| {
                    let (d, radii) = (b.import(&dt), b.import(&rt));
                    ops::lof(b, "y", d, radii, k)
                });
                let want = reference::lof(d, &radii, n as usize, k as usize);
                case.close(&format!("{images} x {n} points, k {k}{what}"), &got, &want, POSITIVE);
            }
        }
    }
}

pub fn outliers(case: &Case) {
    for (i, &n) in ROWS.iter().enumerate() {
        for images in [1u32, 3] {
            let smooth: Vec<f32> = Random::new(i as u64).floats((images * n) as usize, 1.0, DType::F32).iter().map(|v| v.abs()).collect();
            // Ties, and a spread over many powers of two.
            let coarse: Vec<f32> = smooth.iter().map(|v| (v * 40.0).floor().exp2()).collect();
            for (what, scores) in [("", &smooth), (" with ties", &coarse)] {
                let tensor = upload(case.rig, &[images, n], DType::F32, scores);
                for share in [0.05, 0.5, 0.0, 1.0, 0.2] {
                    let got = run(case.rig, |b| {
                        let scores = b.import(&tensor);
                        ops::outliers(b, "y", scores, share)
                    });
                    let want = reference::outliers(scores, n as usize, 1.0 - share);
                    case.exact(&format!("{images} x {n} scores{what}, share {share}"), &got, &want);
                }
            }
        }
    }
}

pub fn repair(case: &Case) {
    for (grid, width) in [([1u32, 1u32], 4u32), ([7, 1], 8), ([1, 50], 12), ([7, 10], 128), ([14, 14], 768), ([32, 20], 48)] {
        for images in [1u32, 2] {
            let n = grid[0] * grid[1];
            let mut random = Random::new(u64::from(n));
            // Dense marks, so that some have no neighbour left, and sparse ones.
            for one_in in [20, 2, 1] {
                let marks: Vec<u32> = (0..images * n).map(|_| u32::from(random.below(one_in) == 0)).collect();
                let mt = upload_u32(case.rig, &[images, n], &marks);
                for act in ACTS {
                    let x = random.floats((images * (1 + n) * width) as usize, 4.0, act);
                    let xt = upload(case.rig, &[images * (1 + n), width], act, &x);
                    let got = run(case.rig, |b| {
                        let (x, marks) = (b.import(&xt), b.import(&mt));
                        ops::repair(b, "y", x, marks, grid)
                    });
                    let want = reference::repair(&x, &marks, grid.map(|g| g as usize), width as usize);
                    case.close(&format!("{images} x {grid:?} patches of {width}, one in {one_in}, {act}"), &got, &want, FEW_ROUNDINGS);
                }
            }
        }
    }
    let (x, marks) = (upload(case.rig, &[7, 4], DType::F32, &[0.0; 28]), upload_u32(case.rig, &[1, 6], &[0; 6]));
    let message = refused(case.rig, &x, |b, x| {
        let marks = b.import(&marks);
        ops::repair(b, "y", x, marks, [2, 4])
    });
    assert!(message.contains("6 patches") && message.contains("2 x 4"), "{message}");
}
