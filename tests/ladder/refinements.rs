//! Refinements of scores against the code that they were published with: MaskCLIP's own repository.

use crate::golden::{Golden, STAGE, Tolerance, compare, floats};
use crate::twin::{self, EMBED, Twin};
use lancet::explain::segment::{KeyLength, ScoreRefinement};
use lancet::reference::{Activation, Projection, l2_normalize, similarity};

/// Sums of probabilities over patches reach 30; the original in f32 is 9e-7 and 3.3e-5 from itself in f64.
const SCORES: Tolerance = Tolerance { rel_l2: 1e-5, max_abs: 3e-4 };
const NAMES: usize = 12;

/// Needs the full folder.
pub fn published(golden: &Golden) -> Result<(), String> {
    let (methods, vit) = (golden.expected("methods"), golden.expected("vit"));
    let name = |what: &str| format!("m8.112.maskclip_repository.{what}");
    // That repository's backbone: exact GELU, another epsilon, residual and MLP kept.
    let mut tower = Twin::open(golden, "openai_vit_f32", 8);
    (tower.activation, tower.eps) = (Activation::Gelu, 1e-6);
    let x = tower.before_last(&floats(&vit, "scene.pixels"), [112, 112]);
    let qkv = tower.qkv(7, &x);
    let values = tower.project(7, &twin::part(&qkv, Projection::Value));
    let features = tower.features(&tower.mlp(7, &twin::sum(&x, &values)))[EMBED..].to_vec();
    compare(&name("features"), &features, &floats(&methods, &name("features")), STAGE)?;

    let texts = floats(&vit, "ensemble.features");
    let cosines = similarity(&l2_normalize(&features, EMBED), &texts[..NAMES * EMBED], EMBED);
    let keys = tower.project(7, &twin::part(&qkv, Projection::Key))[twin::WIDTH..].to_vec();
    for (what, presence, certainty) in
        [("plain", 0.0, 0.0), ("prompt_denoising", 0.5, 0.0), ("key_smoothing", 0.0, 1.0), ("both", 0.5, 0.9)]
    {
        let refinement = ScoreRefinement { presence, certainty, key_length: KeyLength::Channel };
        let got = refinement.apply(&cosines, NAMES, &keys).map_err(|e| e.to_string())?;
        // [N, L] here, [L, h, w] there.
        let planes: Vec<f32> = (0..NAMES).flat_map(|label| got.iter().skip(label).step_by(NAMES).copied()).collect();
        let want = name(&format!("scores_{what}"));
        compare(&want, &planes, &floats(&methods, &want), SCORES)?;
    }
    Ok(())
}
