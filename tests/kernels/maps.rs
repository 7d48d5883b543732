//! From unit features to maps of the image's size.

use crate::Case;
use crate::common::{FEW_ROUNDINGS, Random, Tolerance, run, sum_of, upload};
use lancet::ops::{self, Surgery};
use lancet::reference;
use lancet::shape::DType;

pub fn ensemble(case: &Case) {
    for (labels, templates, width) in [(1u32, 1u32, 4u32), (1, 85, 512), (7, 80, 64), (59, 3, 260), (65_537, 2, 4)] {
        let x = Random::new(u64::from(labels)).units((labels * templates) as usize, width as usize);
        let tensor = upload(case.rig, &[labels * templates, width], DType::F32, &x);
        let got = run(case.rig, |b| {
            let x = b.import(&tensor);
            ops::ensemble(b, "y", x, templates)
        });
        // A mean of vectors that nearly cancel is short, and its roundings count more: 85 random ones keep a ninth.
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
        let some = planes / 2..planes;
        let got = run(case.rig, |b| {
            let maps = b.import(&tensor);
            ops::upsample_part(b, "y", maps, from, to, some.clone(), 0..to[1])
        });
        let want = &want[some.start as usize * (to[0] * to[1]) as usize..];
        case.close(&format!("planes {some:?} of {planes}, {from:?} -> {to:?}"), &got, want, tolerance);
    }
}
