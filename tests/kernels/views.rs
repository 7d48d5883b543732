//! Five views of a picture and what they say of it.

use crate::Case;
use crate::common::{FEW_ROUNDINGS, Random, Tolerance, run, upload};
use lancet::ops::{self, Blur};
use lancet::reference;
use lancet::shape::DType;

pub fn views(case: &Case) {
    let table = [
        (1u32, [1u32, 1u32], Blur { taps: 1, sigma: 5.0 }),
        (2, [7, 6], Blur { taps: 11, sigma: 5.0 }), // the mirror's farthest pixel is the last one
        (1, [50, 77], Blur { taps: 11, sigma: 5.0 }),
        (3, [197, 7], Blur { taps: 3, sigma: 0.8 }),
        (1, [257, 50], Blur { taps: 5, sigma: 1.5 }),
        // Workgroups are not folded within default limits: 15 values a pixel fill a binding sooner.
        (2, [1025, 1024], Blur { taps: 3, sigma: 1.0 }),
    ];
    for (images, [width, height], blur) in table {
        let pixels = Random::new(u64::from(width)).floats((images * 3 * width * height) as usize, 2.0, DType::F32);
        let tensor = upload(case.rig, &[images, 3, height, width], DType::F32, &pixels);
        let got = run(case.rig, |b| {
            let pixels = b.import(&tensor);
            ops::views(b, "y", pixels, blur)
        });
        assert_eq!(got.shape, [5 * images, 3, height, width]);
        let taps = reference::gaussian(blur.taps as usize, f64::from(blur.sigma));
        let want = reference::views(&pixels, [width as usize, height as usize], &taps);
        // Weights sum to 1, values reach 2: a sum of 121 terms in order.
        case.close(&format!("{images} x {width}x{height}, {blur:?}"), &got, &want, Tolerance { absolute: 4e-6, relative: 1e-6 });
    }
}

pub fn merge_views(case: &Case) {
    let table = [(1u32, [1u32, 1u32], 1u32), (1, [7, 7], 59), (3, [14, 9], 3), (2, [1, 77], 7), (1, [50, 1], 2), (2, [1025, 257], 8)];
    for (images, grid, labels) in table {
        let rows = 5 * images * (1 + grid[0] * grid[1]);
        let scores = Random::new(u64::from(rows)).floats((rows * labels) as usize, 1.0, DType::F32);
        let tensor = upload(case.rig, &[rows, labels], DType::F32, &scores);
        for share in [0.75, 0.0, 1.0] {
            let got = run(case.rig, |b| {
                let scores = b.import(&tensor);
                ops::merge_views(b, "y", scores, grid, share)
            });
            assert_eq!(got.shape, [rows / 5, labels]);
            let want = reference::merge_views(&scores, grid.map(|s| s as usize), labels as usize, share);
            case.close(&format!("{images} x {grid:?}, {labels} labels, share {share}"), &got, &want, FEW_ROUNDINGS);
        }
    }
}
