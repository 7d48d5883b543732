//! From classes of pixels to a bias between patches.

use crate::Case;
use crate::common::{FEW_ROUNDINGS, Random, Tolerance, run, upload, upload_u32};
use lancet::ops;
use lancet::reference::{self, NO_TOKEN};
use lancet::shape::DType;

pub fn patch_modes(case: &Case) {
    // Images, size, side of a patch, classes.
    let table = [
        (1u32, [1u32, 1u32], 1u32, 1u32),
        (2, [50, 77], 7, 2),
        (3, [112, 160], 16, 7),
        (1, [230, 197], 14, 3000),
        (2, [96, 65], 32, 150),
        (1, [33, 31], 31, 5000),
        (1, [257, 257], 1, 1 << 24), // 66,049 workgroups: folded
    ];
    for (images, size, side, classes) in table {
        let mut random = Random::new(u64::from(side));
        // Blots of a few classes, as pictures have them, and everything else among them; ties are frequent.
        let draw = |i: u32, random: &mut Random| match random.below(3) {
            0 => random.below(classes),
            _ => (i % size[0] / 5 + i / size[0] / 9) * 37 % classes,
        };
        let pixels: Vec<u32> = (0..images * size[0] * size[1]).map(|i| draw(i, &mut random)).collect();
        let tensor = upload_u32(case.rig, &[images, size[1], size[0]], &pixels);
        let got = run(case.rig, |b| {
            let classes = b.import(&tensor);
            ops::patch_modes(b, "y", classes, size, side)
        });
        let want = reference::patch_modes(&pixels, size.map(|s| s as usize), side as usize);
        case.exact(&format!("{images} images {size:?} of {classes} classes, patches of {side}"), &got, &want);
    }
}

/// Labels of a grid with regions, islands in them and stray patches.
fn labels(images: u32, [width, height]: [u32; 2], seed: u64) -> Vec<u32> {
    let mut random = Random::new(seed);
    let one = |i: u32| {
        let (x, y) = (i % width, i / width % height);
        let region = (x * 3 / width + y * 2 / height) % 3;
        if random.below(6) == 0 { random.below(4) } else { region }
    };
    (0..images * width * height).map(one).collect()
}

/// Images and grids, (width, height): D odd, even, 0, and longer than a workgroup.
const GRIDS: [(u32, [u32; 2]); 8] =
    [(1, [1, 1]), (2, [4, 4]), (3, [7, 7]), (1, [10, 7]), (2, [7, 11]), (1, [77, 1]), (1, [2, 100]), (2, [32, 32])];

pub fn same_entity(case: &Case) {
    for ((images, grid), path_rule) in GRIDS.into_iter().flat_map(|grid| [(grid, true), (grid, false)]) {
        let labels = labels(images, grid, u64::from(grid[0]));
        let tensor = upload_u32(case.rig, &[images, grid[0] * grid[1]], &labels);
        let got = run(case.rig, |b| {
            let labels = b.import(&tensor);
            ops::same_entity(b, "y", labels, grid, path_rule)
        });
        let want = reference::same_entity(&labels, grid.map(|s| s as usize), path_rule);
        case.close(&format!("{images} images, grid {grid:?}, path rule {path_rule}"), &got, &want, FEW_ROUNDINGS);
        if grid[0] * grid[1] > 15 {
            assert_eq!(want.iter().any(|&v| v > 0.0 && v < 1.0), path_rule, "something lies between");
        }
    }
}

pub fn blur_rows(case: &Case) {
    for (images, patches, sigma) in
        [(1u32, 1u32, 5.0f32), (2, 7, 5.0), (3, 49, 5.0), (1, 76, 0.4), (2, 196, 5.0), (1, 256, 20.0), (1, 1024, 5.0)]
    {
        let count = (images * patches * patches) as usize;
        let mut same: Vec<f32> = Random::new(u64::from(patches)).floats(count, 1.0, DType::F32).iter().map(|v| v.max(0.0)).collect();
        // A patch is itself: no row is empty.
        (0..images * patches).for_each(|row| same[(row * patches + row % patches) as usize] = 1.0);
        let tensor = upload(case.rig, &[images, patches, patches], DType::F32, &same);
        let taps = reference::gaussian_taps(patches as usize, sigma);
        let (m, peaks) = reference::blur_rows(&same, patches as usize, &taps);
        // Sums of positive terms: as good as their terms but for some roundings.
        let limit = Tolerance { absolute: 1e-7, relative: 5e-6 };
        let what = format!("{images} x {patches} patches, sigma {sigma}");
        let got = run(case.rig, |b| {
            let same = b.import(&tensor);
            Ok(ops::blur_rows(b, "y", same, sigma)?.matrix)
        });
        case.close(&what, &got, &m, limit);
        // The largest values are no output, but what a bias of gain 1 divides by.
        let largest = peaks.chunks_exact(1 + patches as usize).map(|of_one| of_one.iter().copied().fold(0.0, f32::max));
        let m_largest = m.chunks_exact((1 + patches as usize).pow(2)).map(|of_one| of_one.iter().copied().fold(0.0, f32::max));
        assert!(largest.eq(m_largest), "{what}: the definition's own maxima");
    }
}

pub fn logit_bias(case: &Case) {
    for (images, patches, windowed) in [(1u32, 1u32, true), (3, 6, false), (2, 49, true), (2, 76, false), (1, 256, true), (2, 1024, true)] {
        let tokens = (1 + patches) as usize;
        // Far from equal in their maxima.
        let same: Vec<f32> = Random::new(u64::from(patches))
            .floats((images * patches * patches) as usize, 1.0, DType::F32)
            .iter()
            .map(|v| v.abs())
            .collect();
        let same: Vec<f32> = same.iter().enumerate().map(|(i, v)| v.powi(1 + 9 * (i as i32 / (patches * patches) as i32))).collect();
        let window = reference::gaussian_window([patches as usize, 1], 2.0);
        let (st, wt) = (
            upload(case.rig, &[images, patches, patches], DType::F32, &same),
            upload(case.rig, &[tokens as u32, tokens.next_multiple_of(4) as u32], DType::F32, &window),
        );
        let got = run(case.rig, |b| {
            let same = b.import(&st);
            let related = ops::blur_rows(b, "related", same, 0.5)?;
            ops::logit_bias(b, "y", related, 1.4, windowed.then_some(&wt))
        });
        let (m, _) = reference::blur_rows(&same, patches as usize, &reference::gaussian_taps(patches as usize, 0.5));
        let want = reference::logit_bias(&m, tokens, 1.4, windowed.then_some(&window));
        let what = format!("{images} x {patches} patches, window {windowed}");
        // The blur's limit, doubled by its maximum.
        case.close(&what, &got, &want, Tolerance { absolute: 1e-6, relative: 1e-5 });
        let padding = got.floats().chunks_exact(tokens.next_multiple_of(4)).all(|row| row[tokens..].iter().all(|&v| v == NO_TOKEN));
        assert!(padding, "{}", case.label(&what));
    }
}
