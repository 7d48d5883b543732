//! The program with a ResNet CLIP: the golden one, small, with OpenAI's mixture of element types.

use crate::bad_input::{edit, refused};
use crate::{lancet, root, scene, succeed};
use std::fs;
use std::path::{Path, PathBuf};

fn golden() -> PathBuf {
    root().join("tests/golden")
}

fn weights() -> PathBuf {
    golden().join("weights/openai_rn_f16.safetensors")
}

/// A copy of the model, changed by `damage`, with a config beside it if one is given.
fn copy(folder: &Path, config: Option<&str>, damage: impl Fn(&mut Vec<u8>)) {
    let mut bytes = fs::read(weights()).unwrap();
    damage(&mut bytes);
    fs::write(folder.join("rn.safetensors"), bytes).unwrap();
    if let Some(config) = config {
        fs::write(folder.join("rn.json"), config).unwrap();
    }
}

/// As OpenCLIP writes it.
fn config(layers: &str) -> String {
    format!(
        r#"{{"embed_dim": 48, "quick_gelu": true, "vision_cfg": {{"image_size": 128, "layers": {layers}, "width": 8, "patch_size": null}},
            "text_cfg": {{"context_length": 77, "vocab_size": 98, "width": 64, "heads": 1, "layers": 2}}}}"#
    )
}

#[test]
fn golden_features_come_out_of_the_program() {
    let folder = tempfile::tempdir().unwrap();
    copy(folder.path(), Some(&config("[2, 1, 2, 1]")), |_| ());
    let image = golden().join("images/scene_rgb_131x97.png");
    let expected = ::lancet::Weights::open(golden().join("expected/resnet.safetensors")).unwrap();
    for (method, name) in [("surgery", "openai_f16.scene.surgery.features"), ("clip", "openai_f16.scene.clip.features")] {
        let arguments = ["encode", image.to_str().unwrap(), "--tokens", "--method", method, "--model", "rn.safetensors", "--out", "f.npy"];
        succeed(folder.path(), arguments);
        let bytes = fs::read(folder.path().join("f.npy")).unwrap();
        let file = npyz::NpyFile::new(&bytes[..]).unwrap();
        assert_eq!(file.shape(), [1, 17, 48]);
        let got: Vec<f32> = file.into_vec().unwrap();
        let want = expected.floats(&::lancet::weights::Stored::Plain(name.into()), "").unwrap();
        let worst = got.iter().zip(&want).map(|(g, e)| (g - e).abs()).fold(0.0, f32::max);
        assert!(worst < 1e-4, "{method}, from file to feature: {worst:e}");
    }
}

#[test]
fn profile_counts_the_work_of_each_step() {
    let folder = tempfile::tempdir().unwrap();
    let model = weights();
    for (method, size, grid) in [("surgery", "128", 16), ("surgery-resnet-intended", "160x96", 15), ("maskclip", "63", 4)] {
        let arguments = ["profile", "--runs", "1", "--json", "--model", model.to_str().unwrap(), "--method", method, "--size", size];
        let report: serde_json::Value = serde_json::from_str(&succeed(folder.path(), arguments)).unwrap();
        let steps = report["steps"].as_array().unwrap();
        let step = |label: &str| steps.iter().find(|s| s["label"] == label).unwrap_or_else(|| panic!("{method}: no step {label}"));
        let conv = step("vision.layer4.0.conv2")["kernel"].as_str().unwrap();
        // Which of the two depends on the device.
        assert!(["conv3x3", "conv3x3_subgroup_50x8"].contains(&conv), "{method}: {conv}");
        assert!(step("vision.stem.conv1")["gflops_per_second"].as_f64().unwrap() > 0.0);
        // q, k and v of 1 + N tokens of 256 channels are the largest product at any of these sizes.
        let qkv = step("vision.attnpool.qkv");
        let gflops = qkv["gflops_per_second"].as_f64().unwrap() * qkv["ms"].as_f64().unwrap() / 1e3;
        let want = 2.0 * f64::from(1 + grid) * 256.0 * 768.0 / 1e9;
        assert!((gflops - want).abs() < 1e-6 * want, "{method}: {gflops} GFLOP, expected {want}");
        assert_eq!(steps.iter().any(|s| s["kernel"] == "unit_values"), method == "surgery-resnet-intended");
        assert_eq!(steps.iter().any(|s| s["kernel"].as_str().unwrap().starts_with("attention")), method != "maskclip");
    }
}

#[test]
fn without_a_config_it_says_what_it_assumes() {
    let folder = tempfile::tempdir().unwrap();
    let image = scene();
    let arguments = ["encode", image.to_str().unwrap(), "--model", weights().to_str().unwrap(), "--out", "f.npy"].map(str::to_owned);
    let out = lancet(folder.path(), arguments);
    assert!(out.status.success());
    assert!(String::from_utf8_lossy(&out.stderr).contains("OpenAI's rules assumed"));
}

#[test]
fn what_is_refused() {
    let run = ["encode", "scene.png", "--out", "f.npy", "--model", "rn.safetensors"];
    refused(|f| copy(f, Some(&config("[2, 1, 3, 1]")), |_| ()), &run, &["blocks of layer3 is 3", "have 2"]);
    refused(|f| copy(f, Some(&config("[2, 1, 2]")), |_| ()), &run, &["vision_cfg.layers", "four for a ResNet"]);
    refused(|f| copy(f, Some(&config("6")), |_| ()), &run, &["describes a ViT", "a ResNet's"]);
    let rename = |from: &'static str, to: &'static str| move |f: &Path| copy(f, None, |b| edit(b, from, to));
    refused(
        rename("\"visual.layer2.0.bn2.running_var\"", "\"visual.layer2.0.bn2.running_vax\""),
        &run,
        &["layer2.0.bn2.running_var", "missing"],
    );
    refused(rename("\"visual.attnpool.v_proj.bias\"", "\"visual.attnpool.v_proj.bia5\""), &run, &["attnpool.v_proj.bias", "missing"]);
    refused(rename("\"visual.layer4.0.conv1.weight\"", "\"visual.layer4.0.c0nv1.weight\""), &run, &["[2, 1, 2, 0] blocks"]);
    let size = [&run[..], &["--size", "20"]].concat();
    refused(|f| copy(f, None, |_| ()), &size, &["20x20", "--size"]);
}

#[test]
fn a_negative_variance_is_named() {
    let run = ["encode", "scene.png", "--out", "f.npy", "--model", "rn.safetensors"];
    let negate = |bytes: &mut Vec<u8>| {
        let n = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
        let header: serde_json::Value = serde_json::from_slice(&bytes[8..8 + n]).unwrap();
        let at = header["visual.bn2.running_var"]["data_offsets"][0].as_u64().unwrap() as usize;
        bytes[8 + n + at..][..4].copy_from_slice(&(-1f32).to_le_bytes());
    };
    refused(|f| copy(f, None, negate), &run, &["visual.bn2", "NaN", "damaged"]);
}

#[test]
fn transformers_layout_has_none() {
    let run = ["encode", "scene.png", "--out", "f.npy", "--model", "rn.safetensors"];
    let renamed =
        |f: &Path| copy(f, None, |b| edit(b, "\"visual.attnpool.positional_embedding\"", "\"vision_model.po.positional_embedding\""));
    refused(renamed, &run, &["transformers layout has no ResNet"]);
}
