//! Clusters of patches and their vote against the code that they were published with: CLIPtrase.

use crate::golden::{Golden, Tolerance, compare, floats, ints};
use lancet::explain::segment::clusters::denoised;
use lancet::explain::segment::{ClusterVote, refine};
use lancet::reference::{l2_normalize, similarity, upsample};
use lancet::weights::Weights;

/// Differences of correlations below 1, in f32.
const LIMIT: Tolerance = Tolerance { rel_l2: 1e-6, max_abs: 5e-7 };
const WIDTH: usize = 96;
const GRID: [u32; 2] = [7, 7];
const SIZE: [u32; 2] = [112, 112];

fn matrices(file: &Weights) -> Result<(), String> {
    for picture in ["112", "160", "112x160"] {
        let part = |name: &str| format!("m12.{picture}.cliptrase.{name}");
        let want = floats(file, &part("denoised"));
        let got = denoised(&floats(file, &part("correlation"))).map_err(|e| e.to_string())?;
        compare(&part("denoised"), &got, &want, LIMIT)?;
        for (eps, min_samples) in [(0.5, 3), (0.6, 7), (0.7, 3), (1.1, 7)] {
            let name = part(&format!("dbscan_eps{eps}_min{min_samples}"));
            let want: Vec<Option<usize>> = ints(file, &name).into_iter().map(|c| (c != u32::MAX).then_some(c as usize)).collect();
            let got = ClusterVote { eps, min_samples }.clusters(&got).map_err(|e| e.to_string())?;
            if got != want {
                return Err(format!("{name}: got {got:?}, expected {want:?}"));
            }
        }
    }
    Ok(())
}

/// The class of each pixel, before any vote: arg-max over names of the grid's scores brought to the picture's size.
fn classes(scores: &[f32], class_of_name: &[u16]) -> Vec<u16> {
    let names = class_of_name.len();
    // The class row stays behind.
    let planes: Vec<f32> = (0..names).flat_map(|name| scores[names..].iter().skip(name).step_by(names).copied()).collect();
    let maps = upsample(&planes, names, GRID.map(|s| s as usize), SIZE.map(|s| s as usize));
    let pixels = maps.len() / names;
    let best = |at: usize| (0..names).fold(0, |best, name| if maps[name * pixels + at] > maps[best * pixels + at] { name } else { best });
    (0..pixels).map(|at| class_of_name[best(at)]).collect()
}

/// Name, eps, min_samples, rows of the texts, classes of these names, times the class row's scores.
type Case<'a> = (&'a str, f64, usize, &'a [usize], &'a [u16], bool);

fn votes(file: &Weights, texts: &[f32]) -> Result<(), String> {
    let features = l2_normalize(&floats(file, "m12.112.cliptrase.features"), WIDTH);
    let correlation = floats(file, "m12.112.cliptrase.correlation");
    let own: Vec<u16> = (0..12).collect();
    // Names 7 .. 12 are words of a background, whose class is the last.
    let background: Vec<u16> = own.iter().map(|&name| name.min(7)).collect();
    let cases: [Case<'_>; 4] = [
        ("plain", 0.7, 3, &[0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11], &own, false),
        ("plain_eps0.5", 0.5, 3, &[0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11], &own, false),
        ("times_class_logits", 0.6, 7, &[0, 1, 2, 6], &own[..4], true),
        ("background", 0.5, 3, &[0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11], &background, false),
    ];
    for (name, eps, min_samples, rows, class_of_name, times_class_row) in cases {
        let labels: Vec<f32> = rows.iter().flat_map(|row| texts[row * WIDTH..][..WIDTH].to_vec()).collect();
        let mut scores = similarity(&features, &labels, WIDTH);
        if times_class_row {
            refine::times_class_row(&mut scores, rows.len());
        }
        let mut got = classes(&scores, class_of_name);
        let before = got.clone();
        ClusterVote { eps, min_samples }.vote(&correlation, GRID, SIZE, &mut got).map_err(|e| e.to_string())?;
        let want = ints(file, &format!("m12.112.cliptrase.labels_{name}"));
        let wrong = got.iter().zip(&want).filter(|&(&g, &w)| u32::from(g) != w).count();
        if wrong > 0 || got.len() != want.len() {
            return Err(format!("labels_{name}: {wrong} of {} differ", want.len()));
        }
        let moved = got.iter().zip(&before).filter(|(a, b)| a != b).count();
        if moved < 1000 {
            return Err(format!("labels_{name}: the vote moved only {moved} pixels; it should have thousands to move"));
        }
    }
    Ok(())
}

/// From the exported correlation and the features to labels; needs the full folder.
pub fn published(golden: &Golden) -> Result<(), String> {
    let (methods, vit) = (golden.expected("methods"), golden.expected("vit"));
    matrices(&methods)?;
    votes(&methods, &floats(&vit, "ensemble.features"))
}
