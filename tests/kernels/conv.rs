//! Convolutions and pools of CLIP's ResNets, and the tokens of their attention pool.

use crate::common::{FEW_ROUNDINGS, Random, Tolerance, run, sum_of, upload};
use crate::{ACTS, Case, ROWS, STORAGE};
use lancet::ops::{self, Map};
use lancet::reference::{self, Activation, Heads};
use lancet::shape::DType;

const ACTIVATIONS: [Activation; 2] = [Activation::Relu, Activation::None];

/// Images, (width, height) of the maps, channels in and out: one pixel, single lines, maps that are not square, borders
/// inside a tile of 25 or 50 rows, several images in one tile, and 1 to 8 threads side by side.
const MAPS: [(u32, [u32; 2], u32, u32); 14] = [
    (1, [1, 1], 4, 4),
    (2, [1, 7], 8, 20),
    (1, [7, 1], 4, 16),
    (3, [3, 2], 12, 36),
    (1, [7, 7], 64, 64),
    (2, [5, 5], 16, 128),
    (1, [50, 4], 8, 32),
    (1, [11, 7], 48, 132),
    (2, [14, 14], 32, 260),
    (1, [25, 41], 4, 8),
    (1, [16, 16], 100, 12),
    (1, [5, 4], 512, 48),
    (3, [9, 7], 24, 136),
    (1, [51, 1], 8, 72),
];

fn size(of: [u32; 2]) -> [usize; 2] {
    of.map(|s| s as usize)
}

pub fn conv3x3(case: &Case) {
    for (i, &(images, map, c, n)) in MAPS.iter().enumerate() {
        for (j, &(act, weight)) in STORAGE.iter().enumerate() {
            let mut random = Random::new((100 * i + j) as u64);
            let rows = images * map[0] * map[1];
            let x = random.floats((rows * c) as usize, 1.0, act);
            let w = random.floats((n * 9 * c) as usize, 1.0, weight);
            let bias = random.floats(n as usize, 1.0, DType::F32);
            let activation = ACTIVATIONS[(i + j) % 2];
            let (xt, wt) = (upload(case.rig, &[rows, c], act, &x), upload(case.rig, &[n, 9 * c], weight, &w));
            let bt = upload(case.rig, &[n], DType::F32, &bias);
            let want = reference::conv3x3(&x, images as usize, size(map), &w, &bias, activation);
            let what = format!("{images} maps of {map:?}, C {c}, N {n}, x {act}, weight {weight}, {activation:?}");
            for kernel in ops::conv3x3_kernels(case.rig.engine.caps(), [c, n]) {
                let got = run(case.rig, |b| {
                    let x = Map { value: b.import(&xt), images, size: map };
                    Ok(ops::conv3x3_by(b, "y", x, &wt, &bt, activation, kernel)?.value)
                });
                case.by(kernel).close(&what, &got, &want, sum_of(9 * c as usize, 1.0));
            }
        }
    }
}

pub fn conv_stem(case: &Case) {
    for (i, &(images, image, c)) in
        [(1u32, [1u32, 1u32], 4u32), (2, [7, 5], 8), (1, [50, 77], 12), (3, [32, 33], 32), (1, [197, 20], 40), (1, [224, 224], 4)]
            .iter()
            .enumerate()
    {
        for act in ACTS {
            let mut random = Random::new(i as u64);
            let pixels = random.floats((images * 3 * image[0] * image[1]) as usize, 2.0, DType::F32);
            let (w, bias) = (random.floats(27 * c as usize, 1.0, DType::F32), random.floats(c as usize, 1.0, DType::F32));
            let pt = upload(case.rig, &[images, 3, image[1], image[0]], DType::F32, &pixels);
            let (wt, bt) = (upload(case.rig, &[27, c], DType::F32, &w), upload(case.rig, &[c], DType::F32, &bias));
            let got = run(case.rig, |b| {
                let pixels = b.import(&pt);
                Ok(ops::conv_stem(b, "y", pixels, &wt, &bt, act)?.value)
            });
            let want = reference::conv_stem(&pixels, images as usize, size(image), &w, &bias);
            case.close(&format!("{images} x {image:?} pixels, C {c}, {act}"), &got, &want, sum_of(27, 2.0));
        }
    }
}

pub fn avg_pool(case: &Case) {
    for &(images, map, c) in &[(1u32, [2u32, 2u32], 4u32), (2, [7, 5], 20), (1, [50, 3], 48), (3, [14, 15], 64), (1, [257, 2], 8)] {
        for act in ACTS {
            let rows = images * map[0] * map[1];
            let x = Random::new(u64::from(rows)).floats((rows * c) as usize, 4.0, act);
            let xt = upload(case.rig, &[rows, c], act, &x);
            let got = run(case.rig, |b| {
                let x = Map { value: b.import(&xt), images, size: map };
                Ok(ops::avg_pool(b, "y", x)?.value)
            });
            let want = reference::avg_pool(&x, images as usize, size(map), c as usize);
            case.close(&format!("{images} maps of {map:?}, C {c}, {act}"), &got, &want, FEW_ROUNDINGS);
        }
    }
}

pub fn pool_embed(case: &Case) {
    for pixels in ROWS {
        for (images, c, act) in [(1u32, 20u32, DType::F32), (3, 8, DType::F16)] {
            let mut random = Random::new(u64::from(pixels));
            let x = random.floats((images * pixels * c) as usize, 1.0, act);
            let positions = random.floats(((1 + pixels) * c) as usize, 1.0, DType::F32);
            let (xt, pt) = (upload(case.rig, &[images * pixels, c], act, &x), upload(case.rig, &[1 + pixels, c], DType::F32, &positions));
            let got = run(case.rig, |b| {
                let x = Map { value: b.import(&xt), images, size: [pixels, 1] };
                ops::pool_embed(b, "y", x, &pt)
            });
            let want = reference::pool_embed(&x, &positions, c as usize);
            case.close(&format!("{images} x {pixels} pixels, C {c}, {act}"), &got, &want, FEW_ROUNDINGS);
        }
    }
}

pub fn unit_values(case: &Case) {
    // A root and a division, each good to some units in the last place.
    let tolerance = Tolerance { absolute: 1e-6, relative: 2e-6 };
    for (i, &tokens) in ROWS.iter().enumerate() {
        for act in ACTS {
            let heads = Heads { heads: 1 + i % 3, size: [4, 48, 64][i % 3] };
            let width = heads.heads * heads.size;
            let mut qkv = Random::new(i as u64).floats(tokens as usize * 3 * width, 2.0, act);
            // A value of zeros stays zero.
            qkv[2 * width..2 * width + heads.size].fill(0.0);
            let tensor = upload(case.rig, &[tokens, 3 * width as u32], act, &qkv);
            let got = run(case.rig, |b| {
                let qkv = b.import(&tensor);
                ops::unit_values(b, "y", qkv, heads, 8f32.sqrt())
            });
            let want = reference::unit_values(&qkv, heads, 8f32.sqrt());
            case.close(&format!("{tokens} tokens, {} heads of {}, {act}", heads.heads, heads.size), &got, &want, tolerance);
        }
    }
}
