//! From words to a mask: lancet finds the points, a SAM-style predictor turns them into masks.
//!
//! ```text
//! cargo run --release --bin sam_points                                     the teddy bear of the bundled picture
//! cargo run --release --bin sam_points -- photo.jpg "person+bench" mask.png
//! ```
//!
//! [`Predictor`] has the shape of `SamPredictor` in Python: `set_image`, then `predict` with point coordinates and labels. Put your
//! SAM (ONNX Runtime, candle, a server) behind it. So that this example makes real masks without one, [`Growing`]
//! grows regions of like colour from the points; it knows nothing of objects.
//! In Python, `tools/sam_predict.py` does the same from the JSON of `lancet points`.

use lancet::clip::decode::Decoded;
use lancet::explain::{PointOptions, combined_points};
use lancet::{Clip, Engine, Explainer, Image, Method, Result, Templates, Weights};
use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// What a segmenter prompted with points can do.
trait Predictor {
    /// The image that the next predictions are about.
    fn set_image(&mut self, image: &Image<'_>);
    /// Masks for points (x, y) with labels 1 (part of it) and 0 (not): three of different extent, or one.
    fn predict(&self, point_coords: &[[u32; 2]], point_labels: &[u8], multimask_output: bool) -> Vec<Mask>;
}

/// A proposal.
struct Mask {
    /// How good the predictor thinks it is, 0..1.
    score: f32,
    /// `[H, W]`.
    inside: Vec<bool>,
}

/// Every pixel belongs to the point from which the path to it changes colour least.
#[derive(Default)]
struct Growing {
    size: [usize; 2],
    rgba: Vec<u8>,
}

impl Predictor for Growing {
    fn set_image(&mut self, image: &Image<'_>) {
        self.size = image.size().map(|n| n as usize);
        self.rgba = image.rgba().to_vec();
    }

    fn predict(&self, point_coords: &[[u32; 2]], point_labels: &[u8], multimask_output: bool) -> Vec<Mask> {
        let of = |label| point_coords.iter().zip(point_labels).filter(move |p| *p.1 == label).map(|p| *p.0);
        let (near, far) = (self.distances(of(1)), self.distances(of(0)));
        // How much nearer a pixel is to the named than to the rest, 0..1.
        let sure: Vec<f32> = near.iter().zip(&far).map(|(&n, &f)| (f as f32 + 1.0) / (n as f32 + f as f32 + 2.0)).collect();
        let cuts: &[f32] = if multimask_output { &[0.5, 0.7, 0.9] } else { &[0.7] };
        let masks = cuts.iter().map(|&cut| {
            let count = |above: f32| sure.iter().filter(|&&s| s > above).count() as f32;
            // As SAM's stability score: the overlap of a narrower and a wider mask.
            let score = count(cut + 0.05) / count(cut - 0.05).max(1.0);
            Mask { score, inside: sure.iter().map(|&s| s > cut).collect() }
        });
        masks.collect()
    }
}

impl Growing {
    /// The least sum of squared colour steps from any seed to each pixel (Dijkstra).
    fn distances(&self, seeds: impl Iterator<Item = [u32; 2]>) -> Vec<u64> {
        let [width, height] = self.size;
        let mut best = vec![u64::from(u32::MAX); width * height];
        let mut queue = BinaryHeap::new();
        for [x, y] in seeds {
            let at = y as usize * width + x as usize;
            best[at] = 0;
            queue.push(Reverse((0, at)));
        }
        while let Some(Reverse((distance, at))) = queue.pop() {
            if distance > best[at] {
                continue;
            }
            let (x, y) = (at % width, at / width);
            let neighbours = [
                (x > 0).then(|| at - 1),
                (x + 1 < width).then_some(at + 1),
                (y > 0).then(|| at - width),
                (y + 1 < height).then_some(at + width),
            ];
            for next in neighbours.into_iter().flatten() {
                // The step itself costs a little, so that plain areas are shared by distance.
                let there = distance + 4 + self.colour_step(at, next);
                if there < best[next] {
                    best[next] = there;
                    queue.push(Reverse((there, next)));
                }
            }
        }
        best
    }

    fn colour_step(&self, a: usize, b: usize) -> u64 {
        let pixel = |at: usize| &self.rgba[at * 4..][..3];
        pixel(a).iter().zip(pixel(b)).map(|(&p, &q)| u64::from(p.abs_diff(q)).pow(2)).sum()
    }
}

async fn run(picture: &str, text: &str, target: &str) -> Result<()> {
    let engine = Engine::new(Default::default()).await?;
    let weights = Weights::open("weights/demo/open_clip_model.safetensors")?;
    let clip = Clip::load(&engine, &weights, Default::default())?;
    let parts: Vec<String> = text.split('+').map(|part| part.trim().to_owned()).collect();
    let labels = clip.labels(&parts, &Templates::ensemble()).await?;
    let mut explainer = Explainer::new(&clip, &labels, &Method::SURGERY_ONE_LABEL)?;

    // 32 patches a side for a model of 14, as the original's demonstration does: here 28 for 12.
    let side = clip.config().patch * 28;
    let decoded = Decoded::open(picture)?;
    let scores = explainer.score(&[decoded.image()], [side, side]).await?;
    let maps: Vec<&[f32]> = (0..parts.len()).map(|l| scores.map(0, l)).collect();
    let points = combined_points(&maps, scores.grid, decoded.size(), &PointOptions::default())?;
    println!("\"{text}\": {} points, {} of them positive", points.labels.len(), points.positives());

    let mut predictor = Growing::default();
    predictor.set_image(&decoded.image());
    let mut masks = predictor.predict(&points.coords, &points.labels, true);
    masks.sort_by(|a, b| b.score.total_cmp(&a.score));
    for mask in &masks {
        println!("  a mask of {} pixels, score {:.3}", mask.inside.iter().filter(|&&m| m).count(), mask.score);
    }
    // Of SAM's three the best-scored one is not always the right one: small things are often in another.
    if let Some(best) = masks.first() {
        let grey: Vec<u8> = best.inside.iter().map(|&m| if m { 255 } else { 0 }).collect();
        let [width, height] = decoded.size();
        let written = image::save_buffer(target, &grey, width, height, image::ExtendedColorType::L8);
        written.map_err(|e| lancet::Error::Image { path: target.into(), what: e.to_string() })?;
        println!("the best one: {target}");
    }
    Ok(())
}

fn main() -> std::process::ExitCode {
    let given: Vec<String> = std::env::args().skip(1).collect();
    let word = |i: usize, default: &'static str| given.get(i).map_or(default, String::as_str);
    match pollster::block_on(run(word(0, "weights/demo/scene.png"), word(1, "teddy bear"), word(2, "mask.png"))) {
        Ok(()) => std::process::ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("sam_points: {e}");
            std::process::ExitCode::FAILURE
        }
    }
}
