//! Products with weights, and rows picked from tables.

use crate::common::{FEW_ROUNDINGS, Random, run, sum_of, upload, upload_u32};
use crate::{ACTS, Case, STORAGE};
use lancet::ops::{self, Choice, MatmulArgs, Residual};
use lancet::reference::{self, Activation};
use lancet::shape::DType;

const ACTIVATIONS: [Activation; 4] = [Activation::None, Activation::QuickGelu, Activation::Gelu, Activation::Relu];

/// Every kernel of the family that the device runs without rounding these operands, with K whole and in three.
fn choices(case: &Case, act: DType, weight: DType, [n, k]: [u32; 2]) -> Vec<Choice> {
    let unit = ops::matmul_unit([n, k]);
    let caps = case.rig.engine.caps();
    let able = ops::matmul_variants().iter().filter(|v| v.runs(caps, act, weight, unit) && (case.rig.takes)(v.kernel));
    able.flat_map(|v| [1, 3].map(|slices| Choice { kernel: v.kernel, slices })).collect()
}

/// `[M, K, N]`: one row, models' token counts, and one less and one more than tiles of 25, 50 or 64 rows and 64 or 128 columns.
const PRODUCTS: [[u32; 3]; 18] = [
    [1, 4, 4],
    [1, 768, 132],
    [7, 48, 20],
    [24, 64, 124],
    [25, 80, 128],
    [26, 88, 132],
    [50, 104, 260],
    [77, 512, 64],
    [197, 768, 96],
    [257, 100, 68],
    [1025, 64, 48],
    [33, 3072, 36],
    [63, 36, 124],
    [65, 68, 132],
    [129, 132, 260],
    [49, 40, 56],
    [51, 72, 72],
    [101, 8, 128],
];

fn multiply_adds(sides: &[u32; 3]) -> u64 {
    sides.iter().map(|&side| u64::from(side)).product()
}

pub fn matmul(case: &Case) {
    for (i, &[m, k, n]) in PRODUCTS.iter().enumerate().filter(|(_, sides)| multiply_adds(sides) <= case.rig.most) {
        for (j, &(act, weight)) in STORAGE.iter().enumerate() {
            let mut random = Random::new((100 * i + j) as u64);
            let x = random.floats((m * k) as usize, 1.0, act);
            let w = random.floats((n * k) as usize, 1.0, weight);
            let bias = random.floats(n as usize, 1.0, DType::F32);
            let residual = random.floats((m * n) as usize, 1.0, act);
            // Over the table every pairing of these occurs.
            let (activation, with_bias, with_residual) = (ACTIVATIONS[(i + j) % 4], (i + j) % 3 == 0, (i / 2 + j) % 2 == 0);

            let (xt, wt) = (upload(case.rig, &[m, k], act, &x), upload(case.rig, &[n, k], weight, &w));
            let (bt, rt) = (upload(case.rig, &[n], DType::F32, &bias), upload(case.rig, &[m, n], act, &residual));
            let want = reference::matmul(
                &x,
                &w,
                [m, k, n].map(|d| d as usize),
                with_bias.then_some(&bias[..]),
                activation,
                with_residual.then_some(&residual[..]),
            );
            for choice in choices(case, act, weight, [n, k]) {
                let got = run(case.rig, |b| {
                    let x = b.import(&xt);
                    let residual = if with_residual { Residual::Whole(b.import(&rt)) } else { Residual::None };
                    let bias = with_bias.then_some(&bt);
                    ops::matmul_by(b, "y", MatmulArgs { x, x_offset: 0, weight: &wt, bias, activation, residual }, choice)
                });
                let what = format!("M {m} K {k} N {n}, {} slices, x {act}, weight {weight}, {activation:?}", choice.slices);
                case.by(choice.kernel).close(&what, &got, &want, sum_of(k as usize, 1.0));
            }
        }
    }
    int8_weights(case);
    column_range(case);
    split_residual(case);
    relu_behind_the_residual(case);
}

/// Bytes, and for each row of them what they are to be multiplied by.
fn int8_weights(case: &Case) {
    let products = [[1u32, 768, 136], [7, 48, 20], [50, 104, 264], [197, 72, 64], [65, 36, 132]];
    for (i, [m, k, n]) in products.into_iter().enumerate().filter(|(_, sides)| multiply_adds(sides) <= case.rig.most) {
        for act in ACTS {
            let mut random = Random::new(i as u64);
            let x = random.floats((m * k) as usize, 1.0, act);
            let bytes: Vec<i8> = random.floats((n * k) as usize, 127.0, DType::F32).iter().map(|v| v.round() as i8).collect();
            let (bias, scales) = (random.floats(n as usize, 1.0, DType::F32), random.floats(n as usize, 0.01, DType::F32));
            let residual = random.floats((m * n) as usize, 1.0, act);
            let rows = bytes.chunks_exact(k as usize).zip(&scales);
            let w: Vec<f32> = rows.flat_map(|(row, s)| row.iter().map(move |&b| f32::from(b) * s)).collect();
            let activation = ACTIVATIONS[i % 4];
            let want = reference::matmul(&x, &w, [m, k, n].map(|d| d as usize), Some(&bias), activation, Some(&residual));

            let (xt, rt) = (upload(case.rig, &[m, k], act, &x), upload(case.rig, &[m, n], act, &residual));
            let wt = case.rig.engine.gpu().upload("bytes", &[n, k], DType::I8, &bytes).expect("bytes");
            let bt = upload(case.rig, &[2, n], DType::F32, &[bias, scales].concat());
            for choice in choices(case, act, DType::I8, [n, k]) {
                let got = run(case.rig, |b| {
                    let (x, residual) = (b.import(&xt), Residual::Whole(b.import(&rt)));
                    ops::matmul_by(b, "y", MatmulArgs { x, x_offset: 0, weight: &wt, bias: Some(&bt), activation, residual }, choice)
                });
                let what = format!("M {m} K {k} N {n}, {} slices, x {act}, int8 weights, {activation:?}", choice.slices);
                case.by(choice.kernel).close(&what, &got, &want, sum_of(k as usize, 1.27));
            }
        }
    }
}

/// The end of a ResNet's bottleneck, at its narrow layers too: 1 to 8 threads side by side.
fn relu_behind_the_residual(case: &Case) {
    let products = [[7usize, 8, 32], [197, 16, 64], [1025, 4, 16], [77, 64, 256]];
    for [m, k, n] in products.into_iter().filter(|&sides| multiply_adds(&sides.map(|side| side as u32)) <= case.rig.most) {
        for act in ACTS {
            let mut random = Random::new(m as u64);
            let (x, w) = (random.floats(m * k, 1.0, act), random.floats(n * k, 1.0, DType::F32));
            let residual = random.floats(m * n, 1.0, act);
            let (xt, wt) = (upload(case.rig, &[m as u32, k as u32], act, &x), upload(case.rig, &[n as u32, k as u32], DType::F32, &w));
            let rt = upload(case.rig, &[m as u32, n as u32], act, &residual);
            let sum = reference::matmul(&x, &w, [m, k, n], None, Activation::None, Some(&residual));
            let want = reference::activation(&sum, Activation::Relu);
            for choice in choices(case, act, DType::F32, [n as u32, k as u32]) {
                let got = run(case.rig, |b| {
                    let (x, residual) = (b.import(&xt), Residual::ThenRelu(b.import(&rt)));
                    let args = MatmulArgs { x, x_offset: 0, weight: &wt, bias: None, activation: Activation::None, residual };
                    ops::matmul_by(b, "y", args, choice)
                });
                case.by(choice.kernel).close(&format!("M {m} K {k} N {n}, ReLU last, {act}"), &got, &want, sum_of(k, 1.0));
            }
        }
    }
}

/// The values' columns of a `[T, 3 C]` matrix, as CLIP Surgery's single projections read them.
fn column_range(case: &Case) {
    let (t, c) = (50, 48);
    for act in ACTS {
        let mut random = Random::new(7);
        let (x, w) = (random.floats(t * 3 * c, 1.0, act), random.floats(c * c, 1.0, DType::F32));
        let (xt, wt) = (upload(case.rig, &[t as u32, 3 * c as u32], act, &x), upload(case.rig, &[c as u32, c as u32], DType::F32, &w));
        for part in 0..3 {
            let columns: Vec<f32> = x.chunks_exact(3 * c).flat_map(|row| &row[part * c..][..c]).copied().collect();
            let want = reference::matmul(&columns, &w, [t, c, c], None, Activation::None, None);
            for choice in choices(case, act, DType::F32, [c as u32; 2]) {
                let got = run(case.rig, |b| {
                    let x = b.import(&xt);
                    let (x_offset, weight) = ((part * c) as u32, &wt);
                    let args = MatmulArgs { x, x_offset, weight, bias: None, activation: Activation::None, residual: Residual::None };
                    ops::matmul_by(b, "y", args, choice)
                });
                case.by(choice.kernel).close(&format!("columns {} on, x {act}", part * c), &got, &want, sum_of(c, 1.0));
            }
        }
    }
}

/// Both halves of a dual block: the upper rows continue one stream, the lower ones another that starts anywhere in its matrix.
fn split_residual(case: &Case) {
    let (k, n) = (24usize, 72usize);
    for act in ACTS {
        for (rows, rest_rows, rest_row) in [(7u32, 7u32, 0u32), (50, 100, 50), (17, 30, 5)] {
            let m = (rows + rest_rows - rest_row) as usize;
            let mut random = Random::new(u64::from(rows));
            let (x, w) = (random.floats(m * k, 1.0, act), random.floats(n * k, 1.0, DType::F32));
            let (first, rest) = (random.floats(rows as usize * n, 1.0, act), random.floats(rest_rows as usize * n, 1.0, act));
            let (xt, wt) = (upload(case.rig, &[m as u32, k as u32], act, &x), upload(case.rig, &[n as u32, k as u32], DType::F32, &w));
            let (ft, rt) = (upload(case.rig, &[rows, n as u32], act, &first), upload(case.rig, &[rest_rows, n as u32], act, &rest));
            let residual = [&first[..], &rest[rest_row as usize * n..]].concat();
            let want = reference::matmul(&x, &w, [m, k, n], None, Activation::None, Some(&residual));
            for choice in choices(case, act, DType::F32, [n as u32, k as u32]) {
                let got = run(case.rig, |b| {
                    let (x, first, rest) = (b.import(&xt), b.import(&ft), b.import(&rt));
                    let residual = Residual::Split { first, rows, rest, rest_row };
                    let args = MatmulArgs { x, x_offset: 0, weight: &wt, bias: None, activation: Activation::None, residual };
                    ops::matmul_by(b, "y", args, choice)
                });
                case.by(choice.kernel).close(
                    &format!("residual split at {rows}, rest from {rest_row}, {act}"),
                    &got,
                    &want,
                    sum_of(k, 1.0),
                );
            }
        }
    }
}

/// Slices of K that do not divide it, finished in every way.
pub fn matmul_reduce(case: &Case) {
    for (i, &[m, k, n]) in [[1u32, 768, 4], [7, 100, 20], [50, 3072, 68], [197, 264, 36]].iter().enumerate() {
        for act in ACTS {
            let mut random = Random::new(i as u64);
            let (x, w) = (random.floats((m * k) as usize, 1.0, act), random.floats((n * k) as usize, 1.0, DType::F32));
            let (bias, residual) = (random.floats(n as usize, 1.0, DType::F32), random.floats((m * n) as usize, 1.0, act));
            let (xt, wt) = (upload(case.rig, &[m, k], act, &x), upload(case.rig, &[n, k], DType::F32, &w));
            let (bt, rt) = (upload(case.rig, &[n], DType::F32, &bias), upload(case.rig, &[m, n], act, &residual));
            for (slices, activation) in [2, 3, 8, 64].into_iter().zip(ACTIVATIONS) {
                let choice = Choice { kernel: ops::matmul_variants()[0].kernel, slices };
                let sliced = |b: &mut lancet::gpu::PlanBuilder| {
                    let (x, residual) = (b.import(&xt), Residual::Whole(b.import(&rt)));
                    ops::matmul_by(b, "y", MatmulArgs { x, x_offset: 0, weight: &wt, bias: Some(&bt), activation, residual }, choice)
                };
                let got = run(case.rig, sliced);
                let sums = reference::matmul(&x, &w, [m, k, n].map(|d| d as usize), None, Activation::None, None);
                let want = reference::matmul_reduce(&sums, [1, m as usize, n as usize], Some(&bias), activation, Some(&residual));
                case.close(&format!("M {m} K {k} N {n}, {slices} slices, {act}"), &got, &want, sum_of(k as usize, 1.0));
                assert_eq!(got.bytes, run(case.rig, sliced).bytes, "{}: other bits the second time", case.label("repeated"));
            }
        }
    }
}

/// A kernel that the device cannot run is refused with its name, and never chosen.
#[test]
fn kernels_that_a_device_lacks() {
    let rig = crate::common::portable_rig();
    let (x, w) = (upload(rig, &[5, 8], DType::F32, &[0.0; 40]), upload(rig, &[4, 8], DType::F32, &[0.0; 32]));
    for variant in ops::matmul_variants().iter().filter(|v| v.kernel.need.is_some()) {
        let mut b = lancet::gpu::PlanBuilder::new(rig.engine.gpu());
        let x = b.import(&x);
        let args = MatmulArgs { x, x_offset: 0, weight: &w, bias: None, activation: Activation::None, residual: Residual::None };
        let error = ops::matmul_by(&mut b, "y", args, Choice::whole(variant.kernel)).expect_err("the portable device has no feature");
        assert!(error.to_string().contains(variant.kernel.name), "{error}");
    }
    for shape in [[1, 4, 4], [50, 768, 3072], [197, 768, 768], [257, 1024, 4096], [12544, 64, 256]] {
        let choice = ops::matmul_choice(rig.engine.gpu(), shape, DType::F16, DType::F16, 4);
        assert_eq!(choice.kernel.need, None, "{shape:?}: {}", choice.kernel.name);
    }
}

pub fn patch_embed(case: &Case) {
    // Images, pixels across and down, patch, channels: ragged borders, grids that are not square, edge tiles.
    let table: [(u32, [u32; 2], u32, u32); 10] = [
        (1, [2, 2], 2, 4),
        (2, [37, 23], 4, 20),
        (3, [40, 64], 8, 132),
        (1, [224, 224], 32, 48),
        (2, [112, 80], 16, 64),
        (1, [70, 99], 14, 124),
        (1, [224, 224], 16, 20),
        (2, [30, 48], 6, 16),
        (3, [40, 68], 8, 136),
        (1, [104, 31], 8, 56),
    ];
    for (i, &(images, size, patch, channels)) in table.iter().enumerate() {
        let taps = (3 * patch * patch) as usize;
        let tokens = 1 + (size[0] / patch) * (size[1] / patch);
        for (j, &(act, weight)) in STORAGE.iter().enumerate() {
            let mut random = Random::new((10 * i + j) as u64);
            let pixels = random.floats((images * 3 * size[0] * size[1]) as usize, 1.0, DType::F32);
            let w = random.floats(channels as usize * taps, 1.0, weight);
            let (class, positions) =
                (random.floats(channels as usize, 1.0, DType::F32), random.floats((tokens * channels) as usize, 1.0, DType::F32));
            let pt = upload(case.rig, &[images, 3, size[1], size[0]], DType::F32, &pixels);
            let wt = upload(case.rig, &[channels, taps as u32], weight, &w);
            let ct = upload(case.rig, &[channels], DType::F32, &class);
            let positions_t = upload(case.rig, &[tokens, channels], DType::F32, &positions);
            for prefix in [true, false] {
                let want = reference::patch_embed(
                    &pixels,
                    images as usize,
                    size.map(|s| s as usize),
                    patch as usize,
                    &w,
                    prefix.then_some((&class[..], &positions[..])),
                );
                let what = format!("{images} x {size:?} pixels, patch {patch}, C {channels}, act {act}, weight {weight}, prefix {prefix}");
                for kernel in ops::patch_embed_kernels(case.rig.engine.caps(), [patch, size[0], channels]) {
                    let got = run(case.rig, |b| {
                        let pixels = b.import(&pt);
                        ops::patch_embed_by(b, "y", pixels, patch, &wt, prefix.then_some((&ct, &positions_t)), act, kernel)
                    });
                    case.by(kernel).close(&what, &got, &want, sum_of(taps, 1.0));
                }
            }
        }
    }
}

pub fn token_embed(case: &Case) {
    for (count, width, act) in [(1usize, 4usize, DType::F32), (77, 48, DType::F16), (257, 512, DType::F32), (1025, 20, DType::F16)] {
        let mut random = Random::new(count as u64);
        let (table, positions) = (random.floats(31 * width, 1.0, DType::F32), random.floats(77 * width, 1.0, DType::F32));
        let rows: Vec<u32> = (0..count).map(|_| random.below(31)).collect();
        let places: Vec<u32> = (0..count).map(|_| random.below(77)).collect();
        let pairs: Vec<u32> = rows.iter().zip(&places).flat_map(|(&r, &p)| [r, p]).collect();
        let tokens = upload_u32(case.rig, &[count as u32, 2], &pairs);
        let (tt, pt) =
            (upload(case.rig, &[31, width as u32], DType::F32, &table), upload(case.rig, &[77, width as u32], DType::F32, &positions));
        let got = run(case.rig, |b| ops::token_embed(b, "y", &tokens, &tt, &pt, act));
        let want = reference::token_embed(&rows, &places, &table, &positions, width);
        case.close(&format!("{count} tokens, C {width}, {act}"), &got, &want, FEW_ROUNDINGS);
    }
}

pub fn gather_rows(case: &Case) {
    for (from, count, width, act) in
        [(1u32, 1u32, 4u32, DType::F32), (77, 7, 48, DType::F16), (50, 197, 512, DType::F32), (1025, 257, 20, DType::F16)]
    {
        let mut random = Random::new(u64::from(from));
        let x = random.floats((from * width) as usize, 1.0, act);
        let rows: Vec<u32> = (0..count).map(|_| random.below(from)).collect();
        let (xt, rt) = (upload(case.rig, &[from, width], act, &x), upload_u32(case.rig, &[count], &rows));
        let got = run(case.rig, |b| {
            let x = b.import(&xt);
            ops::gather_rows(b, "y", x, &rt)
        });
        // A copy: no bit may change, so the poison and the data are all that can come out.
        assert_eq!(got.floats(), reference::gather_rows(&x, width as usize, &rows), "{}", case.label("a copy"));
        case.ran(&got);
    }
}
