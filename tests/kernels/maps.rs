//! From unit features to maps of the image's size.

use crate::Case;
use crate::common::{FEW_ROUNDINGS, Random, Tolerance, run, sum_of, upload};
use lancet::gpu::PlanBuilder;
use lancet::ops::{self, Resize, Surgery};
use lancet::reference::{self, Align};
use lancet::shape::DType;

pub fn ensemble(case: &Case) {
    for (labels, templates, width) in [(1u32, 1u32, 4u32), (1, 85, 512), (7, 80, 64), (59, 3, 260), (65_537, 2, 4)] {
        let mut x = Random::new(u64::from(labels)).units((labels * templates) as usize, width as usize);
        // Features as they come are no unit rows: their lengths count.
        x.iter_mut().enumerate().for_each(|(i, v)| *v *= 1.0 + (i / width as usize % 3) as f32);
        let tensor = upload(case.rig, &[labels * templates, width], DType::F32, &x);
        let got = run(case.rig, |b| {
            let x = b.import(&tensor);
            ops::ensemble(b, "y", x, templates)
        });
        // A mean of vectors that nearly cancel is short, and its roundings count more: 85 random unit ones keep a ninth.
        let tolerance = Tolerance { absolute: 5e-6, relative: 5e-6 };
        case.close(
            &format!("{labels} labels of {templates} prompts, D {width}"),
            &got,
            &reference::ensemble(&x, templates as usize, width as usize),
            tolerance,
        );
    }
}

pub fn similarity(case: &Case) {
    let counts = (1..=59).map(|labels| (5, labels, 16));
    for (rows, labels, width) in counts.chain([(1, 1000, 64), (197, 59, 512), (50, 2, 768), (1025, 7, 48)]) {
        let mut random = Random::new(u64::from(labels));
        let (features, texts) = (random.units(rows as usize, width as usize), random.units(labels as usize, width as usize));
        let (ft, tt) = (upload(case.rig, &[rows, width], DType::F32, &features), upload(case.rig, &[labels, width], DType::F32, &texts));
        let got = run(case.rig, |b| {
            let features = b.import(&ft);
            ops::similarity(b, "s", features, &tt)
        });
        // Unit rows: each product is about 1 / width, the sum at most 1.
        let tolerance = sum_of(width as usize, 1.0 / f64::from(width));
        case.close(
            &format!("{rows} rows, {labels} labels, D {width}"),
            &got,
            &reference::similarity(&features, &texts, width as usize),
            tolerance,
        );
    }
}

pub fn feature_surgery(case: &Case) {
    let sets = (2..=59).map(|labels| (1, 7, labels));
    for (images, tokens, labels) in sets.chain([(2, 50, 59), (3, 17, 64), (1, 10, 1000), (2, 5, 65), (4, 16_384, 3)]) {
        let rows = images * tokens;
        let cosines = Random::new(u64::from(labels)).floats((rows * labels) as usize, 1.0, DType::F32);
        let tensor = upload(case.rig, &[rows, labels], DType::F32, &cosines);
        for weight_minuend in [true, false] {
            if rows > 65_535 && !weight_minuend {
                continue; // one folded dispatch of it is enough
            }
            let got = run(case.rig, |b| {
                let cosines = b.import(&tensor);
                ops::feature_surgery(b, "s", cosines, tokens, Surgery::LabelMean { sharpness: 2.0, weight_minuend })
            });
            let want = reference::feature_surgery_labels(&cosines, images as usize, labels as usize, 2.0, weight_minuend);
            // The mean of 1,000 weighted cosines, weights up to e^4.
            let what = format!("{images} x {tokens} tokens, {labels} labels, weighted minuend {weight_minuend}");
            case.close(&what, &got, &want, Tolerance { absolute: 5e-6, relative: 5e-6 });
        }
        let got = run(case.rig, |b| {
            let cosines = b.import(&tensor);
            ops::feature_surgery(b, "s", cosines, tokens, Surgery::Reference)
        });
        let want = reference::feature_surgery_reference(&cosines, rows as usize, labels as usize - 1);
        case.close(&format!("{images} x {tokens} tokens, {} labels and a reference text", labels - 1), &got, &want, FEW_ROUNDINGS);
    }
}

pub fn minmax(case: &Case) {
    for (images, tokens, labels) in [(1u32, 2u32, 1u32), (1, 50, 59), (2, 197, 7), (3, 65, 2), (1, 66, 3), (1, 3, 1000), (2, 3, 33_000)] {
        let mut s = Random::new(u64::from(tokens)).floats((images * tokens * labels) as usize, 1.0, DType::F32);
        // Class rows are not part of a map; the first label's map is constant.
        for (i, row) in s.chunks_exact_mut(labels as usize).enumerate() {
            if i % tokens as usize == 0 {
                row.fill(if i % 2 == 0 { 9.0 } else { -9.0 });
            }
            row[0] = 0.25;
        }
        let tensor = upload(case.rig, &[images * tokens, labels], DType::F32, &s);
        let got = run(case.rig, |b| {
            let s = b.import(&tensor);
            ops::minmax(b, "maps", s, tokens)
        });
        let want = reference::minmax(&s, images as usize, tokens as usize, labels as usize);
        case.close(&format!("{images} x {tokens} tokens, {labels} labels"), &got, &want, FEW_ROUNDINGS);
        let patches = tokens as usize - 1;
        assert!(got.floats()[..patches].iter().all(|&v| v == 0.0), "{}", case.label("a constant map must be zeros"));
    }
}

pub fn stretch_pixels(case: &Case) {
    let table = [
        (1u32, [7u32, 7u32], [224u32, 224u32]),
        (3, [14, 9], [37, 101]),
        (2, [16, 16], [5, 3]), // down: most cells have no pixel
        (1, [1, 1], [7, 5]),
        (2, [24, 24], [24, 24]),
        (2, [5, 3], [10, 9]), // no pixel on a centre, and one on each
        (1, [3, 5], [1, 1]),
        (59, [7, 7], [50, 77]),
        (66_000, [2, 1], [3, 1]), // folded
    ];
    for (planes, from, to) in table {
        let cells = (from[0] * from[1]) as usize;
        let mut maps = Random::new(u64::from(to[0])).floats(planes as usize * cells, 1.0, DType::F32);
        if planes > 2 {
            maps[cells..2 * cells].fill(0.3); // constant
        }
        let tensor = upload(case.rig, &[planes, from[0] * from[1]], DType::F32, &maps);
        let got = run(case.rig, |b| {
            let maps = b.import(&tensor);
            ops::stretch_pixels(b, "y", maps, Resize { from, to, align: Align::Centres })
        });
        let sides = [from, to].map(|side| side.map(|s| s as usize));
        let want = reference::stretch_pixels(&maps, planes as usize, sides[0], sides[1]);
        // As `upsample`, divided by a range; two pixels of 66,000 maps are near each other now and then.
        let tolerance =
            if planes > 1000 { Tolerance { absolute: 1e-4, relative: 1e-2 } } else { Tolerance { absolute: 1e-4, relative: 1e-5 } };
        case.close(&format!("{planes} planes {from:?} -> {to:?}"), &got, &want, tolerance);
        let pixels = reference::upsample(&got.floats(), planes as usize, sides[0], sides[1]);
        for (pixels, map) in pixels.chunks_exact((to[0] * to[1]) as usize).zip(maps.chunks_exact(cells)) {
            let extremes = pixels.iter().fold([f32::MAX, f32::MIN], |[low, high], &v| [low.min(v), high.max(v)]);
            let flat = map.iter().all(|v| *v == map[0]) || to == [1, 1];
            let far = [extremes[0].abs(), (extremes[1] - f32::from(!flat)).abs()].into_iter().fold(0.0, f32::max);
            assert!(far < 1e-3, "{}", case.label(&format!("pixels must be 0..1: {extremes:?}")));
        }
    }
}

pub fn upsample(case: &Case) {
    let table = [
        (1u32, [7u32, 7u32], [224u32, 224u32]),
        (3, [14, 9], [37, 101]),
        (2, [16, 16], [5, 3]), // down: skips, does not average
        (1, [1, 1], [7, 5]),
        (2, [24, 24], [24, 24]),
        (1, [3, 5], [1, 1]),
        (59, [7, 7], [50, 77]),
        (1, [5, 3], [2049, 2050]), // 65,633 workgroups: folded
    ];
    for (planes, from, to) in table {
        let maps = Random::new(u64::from(to[0])).floats((planes * from[0] * from[1]) as usize, 1.0, DType::F32);
        let tensor = upload(case.rig, &[planes, from[0] * from[1]], DType::F32, &maps);
        let got = run(case.rig, |b| {
            let maps = b.import(&tensor);
            ops::upsample(b, "y", maps, from, to)
        });
        assert_eq!(got.shape, [planes, to[1], to[0]]);
        let want = reference::upsample(&maps, planes as usize, from.map(|s| s as usize), to.map(|s| s as usize));
        // A source position is good to 2^-24 of the grid's side (24), and neighbours differ by 2 at most.
        let tolerance = Tolerance { absolute: 1e-5, relative: 0.0 };
        case.close(&format!("{planes} planes {from:?} -> {to:?}"), &got, &want, tolerance);
        // Corners: source positions are products now, as good as the quotients above.
        let resize = Resize { from, to, align: Align::Corners };
        let got = run(case.rig, |b| {
            let maps = b.import(&tensor);
            ops::upsample_aligned(b, "y", maps, resize, 0..planes, 0..to[1])
        });
        let [f, t] = [from, to].map(|s| s.map(|s| s as usize));
        let corners = reference::upsample_aligned(&maps, planes as usize, f, t, Align::Corners);
        case.close(&format!("{planes} planes {from:?} -> {to:?}, corners"), &got, &corners, tolerance);
        let some = planes / 2..planes;
        let got = run(case.rig, |b| {
            let maps = b.import(&tensor);
            ops::upsample_part(b, "y", maps, from, to, some.clone(), 0..to[1])
        });
        let want = &want[some.start as usize * (to[0] * to[1]) as usize..];
        case.close(&format!("planes {some:?} of {planes}, {from:?} -> {to:?}"), &got, want, tolerance);
    }
}

pub fn state_scores(case: &Case) {
    for (rows, labels) in [(1u32, 2u32), (7, 2), (50, 3), (77, 1), (197, 2), (257, 59), (1025, 2), (70_000, 2)] {
        let cosines = Random::new(u64::from(rows)).floats((rows * labels) as usize, 1.0, DType::F32);
        let tensor = upload(case.rig, &[rows, labels], DType::F32, &cosines);
        for temperature in [1.0, 0.07, 0.01] {
            let got = run(case.rig, |b| {
                let cosines = b.import(&tensor);
                ops::state_scores(b, "p", cosines, temperature)
            });
            let want = reference::state_scores(&cosines, labels as usize, temperature);
            // An exponent of up to 2 / 0.01 is good to 2^-24 of itself and so is its exponential, to 1.2e-5 of itself.
            let tolerance = Tolerance { absolute: 2e-6, relative: 2e-5 };
            case.close(&format!("{rows} rows, {labels} states, temperature {temperature}"), &got, &want, tolerance);
        }
    }
    let tensor = upload(case.rig, &[3, 2], DType::F32, &[0.0; 6]);
    let mut b = PlanBuilder::new(case.rig.engine.gpu());
    let cosines = b.import(&tensor);
    assert!(ops::state_scores(&mut b, "p", cosines, 1.0).is_ok());
    for bad in [0.0, -1.0, f32::NAN, f32::INFINITY] {
        assert!(ops::state_scores(&mut b, "p", cosines, bad).is_err(), "temperature {bad}");
    }
}

pub fn mean_filter(case: &Case) {
    for (images, labels, grid) in [
        (1u32, 1u32, [1u32, 1u32]),
        (1, 2, [7, 7]),
        (2, 2, [1, 7]),
        (3, 7, [14, 9]),
        (1, 59, [16, 16]),
        (1, 2, [32, 32]),
        (2, 3, [900, 800]),
    ] {
        let tokens = 1 + grid[0] * grid[1];
        let s = Random::new(u64::from(tokens)).floats((images * tokens * labels) as usize, 1.0, DType::F32);
        let tensor = upload(case.rig, &[images * tokens, labels], DType::F32, &s);
        let got = run(case.rig, |b| {
            let s = b.import(&tensor);
            ops::mean_filter(b, "maps", s, grid)
        });
        assert_eq!(got.shape, [images, labels, tokens - 1]);
        let want = reference::mean_filter(&s, labels as usize, grid.map(|n| n as usize));
        case.close(&format!("{images} x {labels} maps of {grid:?}"), &got, &want, FEW_ROUNDINGS);
    }
    let tensor = upload(case.rig, &[10, 2], DType::F32, &[0.0; 20]);
    let mut b = PlanBuilder::new(case.rig.engine.gpu());
    let s = b.import(&tensor);
    assert!(ops::mean_filter(&mut b, "maps", s, [3, 3]).is_ok());
    for grid in [[3, 2], [0, 9], [9, 0]] {
        assert!(ops::mean_filter(&mut b, "maps", s, grid).is_err(), "{grid:?}");
    }
}
