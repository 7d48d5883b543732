//! Five views of a picture, merged, and the closing of the labels, against the code that they were published with: ITACLIP.

use crate::golden::{Golden, SIMILARITY, STAGE, compare, floats, ints};
use crate::segmentation::{choice_of, run, upload, values};
use crate::twin::{self, EMBED, Twin};
use lancet::Engine;
use lancet::explain::Views;
use lancet::explain::segment::closing::closing;
use lancet::ops;
use lancet::reference::Projection;

const SIZE: [u32; 2] = [160, 112];
const GRID: [u32; 2] = [10, 7];
const OUTPUT: [u32; 2] = [50, 35];
const NAMES: usize = 9;

/// Features by the published attention: half the last block's own q-q and k-k maps, half the mean of blocks 7, 8 and 10.
fn features(tower: &Twin, pixels: &[f32]) -> Vec<f32> {
    let last = tower.blocks - 1;
    let mut x = tower.start(pixels, SIZE.map(|s| s as usize));
    let tokens = x.len() / twin::WIDTH;
    let map = |qkv: &[f32]| -> Vec<f32> {
        let [qq, kk] = [Projection::Query, Projection::Key].map(|pair| twin::weights(&twin::logits(qkv, pair), tokens));
        twin::sum(&qq, &kk)
    };
    let mut earlier = Vec::new();
    for block in 0..last {
        if [6, 7, 9].contains(&block) {
            earlier.push(map(&tower.qkv(block, &x)));
        }
        x = tower.ordinary(block, &x);
    }
    let qkv = tower.qkv(last, &x);
    let mean = |i: usize| (earlier[0][i] + earlier[1][i] + earlier[2][i]) / 3.0;
    let mixed: Vec<f32> = map(&qkv).iter().enumerate().map(|(i, own)| 0.5 * own + 0.5 * mean(i)).collect();
    tower.features(&twin::sum(&x, &tower.project(last, &twin::weighted(&qkv, &mixed))))
}

/// Views and their merging on the GPU, the tower between them in plain Rust; needs the full folder.
pub fn published(golden: &Golden) -> Result<(), String> {
    let engine = pollster::block_on(Engine::new(Default::default())).map_err(|e| e.to_string())?;
    let (methods, vit) = (golden.expected("methods"), golden.expected("vit"));
    let tower = Twin::open(golden, "openai_vit12_f16", 12);
    let pixels = twin::cut(&floats(&vit, "size_160.pixels"), [160, 160], [0, 24], SIZE.map(|s| s as usize));
    let views = Views::default();
    let tensor = upload(&engine, &[1, 3, SIZE[1], SIZE[0]], &pixels);
    let five = values(
        &engine,
        &run(&engine, |b| {
            let pixels = b.import(&tensor);
            views.plan_pixels(b, pixels)
        }),
    );
    let all: Vec<f32> = five.chunks_exact(pixels.len()).flat_map(|view| features(&tower, view)).collect();
    let tokens = 1 + GRID[0] * GRID[1];
    let first = &all[..tokens as usize * EMBED];
    compare("features of the picture itself", first, &floats(&methods, "m12.112x160.itaclip.features"), STAGE)?;

    let texts = upload(&engine, &[NAMES as u32, EMBED as u32], &floats(&vit, "ensemble.features")[..NAMES * EMBED]);
    let tensor = upload(&engine, &[5 * tokens, EMBED as u32], &all);
    let merged = run(&engine, |b| {
        let features = b.import(&tensor);
        let unit = ops::l2_normalize(b, "l2_normalize", features)?;
        let cosines = ops::similarity(b, "similarity", unit, &texts)?;
        let cosines = views.plan_cosines(b, cosines, GRID)?;
        let whole = lancet::reference::Windows {
            canvas: GRID.map(|s| s as usize),
            size: GRID.map(|s| s as usize),
            columns: vec![0],
            rows: vec![0],
            before: [0; 2],
            after: [0; 2],
        };
        let maps = ops::stitch(b, "stitch", cosines, GRID, &whole, 0..NAMES as u32)?;
        ops::upsample(b, "upsample", maps, GRID, OUTPUT)
    });
    compare("logits of all views", &values(&engine, &merged), &floats(&methods, "m12.112x160.itaclip.engineered_logits"), SIMILARITY)?;

    let (labels, _) = choice_of(&engine, &merged, 40.0, 0.25, Some(0.02), false);
    let same = |what: &str, got: &[u32]| {
        let wrong = got.iter().zip(ints(&methods, what)).filter(|(g, w)| **g != *w).count();
        if wrong > 0 { Err(format!("{what}: {wrong} labels differ")) } else { Ok(()) }
    };
    same("m12.112x160.itaclip.labels_before_closing", &labels)?;
    let mut closed: Vec<u16> = labels.iter().map(|&class| class as u16).collect();
    closing(&mut closed, OUTPUT);
    let closed: Vec<u32> = closed.into_iter().map(u32::from).collect();
    let changed = closed.iter().zip(&labels).filter(|(a, b)| a != b).count();
    if changed != 41 {
        return Err(format!("closing changed {changed} labels, expected 41"));
    }
    same("m12.112x160.itaclip.closed_labels", &closed)
}
