//! From the picture's bytes to the finished map: what a method does before the tower and behind the cosines.

use crate::golden::{Golden, MAP, SIMILARITY, compare, floats, ints};
use crate::methods::{load, pixels, texts};
use crate::segmentation::{run, values as values_of};
use crate::steps::{engine, upload};
use crate::twin;
use lancet::clip::{Clip, Image, Labels, PositionRule};
use lancet::explain::Method;
use lancet::explain::segment::{Class, ClusterVote};
use lancet::gpu::PlanBuilder;
use lancet::reference::upsample;
use lancet::{Classes, Error, Explainer, SegmentOptions, Segmenter};

/// (width, height): the rows from 24 on of a square.
const SIZE: [u32; 2] = [160, 112];

/// The bytes that the normalised pixels come from.
fn bytes(clip: &Clip, pixels: &[f32]) -> Vec<u8> {
    let (config, plane) = (clip.config(), pixels.len() / 3);
    let byte = |c: usize, i: usize| {
        let value = (pixels[c * plane + i] * config.std[c] + config.mean[c]) * 255.0;
        assert!((value - value.round()).abs() < 0.01, "{value} is no byte");
        value.round() as u8
    };
    (0..plane).flat_map(|i| [byte(0, i), byte(1, i), byte(2, i), 255]).collect()
}

fn picture(golden: &Golden, clip: &Clip) -> Vec<u8> {
    bytes(clip, &twin::cut(&floats(&golden.expected("vit"), "size_160.pixels"), [160, 160], [0, 24], SIZE.map(|s| s as usize)))
}

/// The first of the texts.
fn labels(golden: &Golden, clip: &Clip, count: usize) -> Labels {
    let all = texts(&golden.expected("vit"), clip);
    let width = all.width();
    Labels::new(all.names()[..count].to_vec(), all.embeddings()[..count * width].to_vec(), vec![0.0; width], width).unwrap()
}

/// Five views, the tower and their merging in one plan.
fn five_views(golden: &Golden) -> Result<(), String> {
    let clip = load(golden, "m12");
    let rgba = picture(golden, &clip);
    let image = Image::new(SIZE, &rgba).unwrap();
    let mut explainer = Explainer::new(&clip, &labels(golden, &clip, 9), &Method::ITACLIP_VIEWS).unwrap();
    // Two of them: views go view by view, results picture by picture.
    let scores = pollster::block_on(explainer.score(&[image, image], SIZE)).map_err(|e| e.to_string())?;
    let expected = floats(&golden.expected("methods"), "m12.112x160.itaclip.engineered_logits");
    for maps in scores.patches.chunks_exact(9 * scores.cells()) {
        let got = upsample(maps, 9, scores.grid.map(|s| s as usize), [50, 35]);
        compare("logits of all views, through the explainer", &got, &expected, SIMILARITY)?;
    }
    let one = Explainer::new(&clip, &labels(golden, &clip, 9), &Method::ITACLIP).unwrap();
    assert_eq!(one.method().vision, explainer.method().vision);
    let small = Image::new([32, 32], &rgba[..32 * 32 * 4]).unwrap();
    match pollster::block_on(explainer.score(&[small], [8, 8])) {
        Err(Error::Shape { .. } | Error::Input { .. }) => Ok(()),
        other => Err(format!("a picture smaller than the blur: {other:?}")),
    }
}

/// GEM resizes before it stretches.
fn resized_maps(golden: &Golden) -> Result<(), String> {
    let clip = load(golden, "m8");
    let rgba = picture(golden, &clip);
    let image = Image::new(SIZE, &rgba).unwrap();
    let mut explainer = Explainer::new(&clip, &labels(golden, &clip, 4), &Method::GEM).unwrap();
    let found = pollster::block_on(explainer.explain(&image, SIZE)).map_err(|e| e.to_string())?;
    let got: Vec<f32> = found.labels.iter().flat_map(|l| l.map.clone()).collect();
    let expected = floats(&golden.expected("methods"), "m8.112x160.gem.heatmap");
    compare("heat maps, resized and then stretched", &got, &expected, MAP)?;
    for (label, map) in found.labels.iter().zip(got.chunks_exact((SIZE[0] * SIZE[1]) as usize)) {
        let highest = map.iter().copied().fold(0.0, f32::max);
        let at_peak = map[(label.peak[1] * SIZE[0] + label.peak[0]) as usize];
        if (highest - 1.0).abs() > 1e-5 || (at_peak - highest).abs() > 1e-5 {
            return Err(format!("{}: the map reaches {highest}, at its peak {at_peak}", label.label));
        }
    }
    // Stretched by its patches instead, the same maps are elsewhere.
    let stretched = Method { maps: lancet::explain::Maps::Stretched, ..Method::GEM };
    let mut other = Explainer::new(&clip, &labels(golden, &clip, 4), &stretched).unwrap();
    let found = pollster::block_on(other.explain(&image, SIZE)).map_err(|e| e.to_string())?;
    let other: Vec<f32> = found.labels.iter().flat_map(|l| l.map.clone()).collect();
    assert!(compare("", &other, &expected, MAP).is_err(), "the order of resizing and stretching makes no difference");
    Ok(())
}

/// What CLIPtrase takes from the last block but one.
fn correlation(golden: &Golden) -> Result<(), String> {
    let (clip, expected, inputs) = (load(golden, "m12"), golden.expected("methods"), golden.expected("vit"));
    for size in ["112", "160", "112x160"] {
        let (shape, values) = pixels(&inputs, size);
        let input = upload(&shape, &values);
        let made = run(engine(), |b| {
            let input = b.import(&input);
            clip.plan_correlation(b, input, PositionRule::BicubicShifted, 1)
        });
        compare(
            &format!("{size} correlation"),
            &values_of(engine(), &made),
            &floats(&expected, &format!("m12.{size}.cliptrase.correlation")),
            SIMILARITY,
        )?;
    }
    let mut b = PlanBuilder::new(clip.gpu());
    let (shape, values) = pixels(&inputs, "112");
    let input = upload(&shape, &values);
    let value = b.import(&input);
    match clip.plan_correlation(&mut b, value, PositionRule::BicubicShifted, 12) {
        Err(Error::Input { what }) if what.contains("12") => Ok(()),
        other => Err(format!("a block before the first: {other:?}")),
    }
}

/// CLIPtrase from the picture to the label of each pixel.
fn clusters_vote(golden: &Golden) -> Result<(), String> {
    let (clip, expected) = (load(golden, "m12"), golden.expected("methods"));
    let rgba = bytes(&clip, &floats(&golden.expected("vit"), "scene.pixels"));
    let image = Image::new([112, 112], &rgba).unwrap();
    let labels = labels(golden, &clip, 12);
    for (name, eps) in [("plain", 0.7), ("plain_eps0.5", 0.5)] {
        let segment = |cluster_vote| {
            let classes = Classes::new(labels.names().iter().map(|name| Class::parse(name).unwrap()).collect()).unwrap();
            let options = SegmentOptions { logit_scale: 100.0, cluster_vote, ..SegmentOptions::new(clip.config()) };
            let mut segmenter = Segmenter::new(&clip, classes, &labels, &Method::CLIPTRASE, options).unwrap();
            pollster::block_on(segmenter.segment(&image)).map(|found| found.class_of_pixel).map_err(|e| e.to_string())
        };
        let want = ints(&expected, &format!("m12.112.cliptrase.labels_{name}"));
        let wrong = |got: &[u16]| got.iter().zip(&want).filter(|&(&g, &w)| u32::from(g) != w).count();
        let got = segment(Some(ClusterVote { eps, min_samples: 3 }))?;
        if got.len() != want.len() || wrong(&got) * 1000 > want.len() {
            return Err(format!("labels_{name}: {} of {} differ", wrong(&got), want.len()));
        }
        if wrong(&segment(None)?) < 1000 {
            return Err("the vote makes no difference".into());
        }
    }
    Ok(())
}

pub fn published(golden: &Golden) -> Result<(), String> {
    five_views(golden)?;
    resized_maps(golden)?;
    correlation(golden)?;
    clusters_vote(golden)
}
