//! `lancet tune`: what it measures, the table it keeps, and tables that cannot be used.

use crate::{lancet, listing, root, succeed};
use std::path::{Path, PathBuf};

fn json(text: &str) -> serde_json::Value {
    serde_json::from_str(text).unwrap_or_else(|e| panic!("{e}: {text}"))
}

/// Measures the bundled model and keeps the table; the report.
fn tuned(folder: &Path) -> (serde_json::Value, PathBuf) {
    let model = root().join("weights/demo/open_clip_model.safetensors");
    let model = model.to_str().expect("a path in UTF-8");
    let report = json(&succeed(folder, ["tune", "--model", model, "--precision", "f32", "--rounds", "1", "--write", "--json"]));
    let file = PathBuf::from(report["file"].as_str().expect("a file"));
    (report, file)
}

#[test]
fn a_table_is_kept_and_followed() {
    let folder = tempfile::tempdir().unwrap();
    let before = json(&succeed(folder.path(), ["info", "--json"]));
    assert_eq!(before["tuned_rules"], serde_json::json!([]));

    let (report, file) = tuned(folder.path());
    assert_eq!(file.parent(), Some(folder.path().join("cache/tuned").as_path()));
    assert_eq!(listing(&folder.path().join("cache/tuned")), [file.file_name().unwrap().to_str().unwrap()], "nothing half-done beside it");
    let products = report["products"].as_array().unwrap();
    assert!(products.len() >= 5, "{products:?}");
    for p in products {
        let kernels = p["kernels"].as_array().unwrap();
        assert!(kernels.iter().any(|k| k["kernel"] == "matmul_workgroup_64"), "{p}");
        assert!(kernels.iter().all(|k| k["gflops_per_second"].as_f64().unwrap() > 0.0), "{p}");
        let winner = kernels.iter().find(|k| k["kernel"] == p["winner"]["kernel"] && k["slices"] == p["winner"]["slices"]);
        let best = kernels.iter().map(|k| k["ms"].as_f64().unwrap()).fold(f64::INFINITY, f64::min);
        assert!(winner.unwrap()["ms"].as_f64().unwrap() <= 1.03 * best, "{p}");
    }

    let after = json(&succeed(folder.path(), ["info", "--json"]));
    assert_eq!(after["tuned_rules"], report["rules"]);
    // What the rules say is what runs.
    let rule = "* * * * * matmul_register_8x8 1\n";
    let text = std::fs::read_to_string(&file).unwrap();
    let head: String = text.lines().take_while(|l| !l.starts_with('#')).map(|l| format!("{l}\n")).collect();
    std::fs::write(&file, format!("{head}{rule}")).unwrap();
    let profile = json(&succeed(folder.path(), ["profile", "--runs", "1", "--label-count", "2", "--json"]));
    let kernels: Vec<_> = profile["steps"].as_array().unwrap().iter().map(|s| s["kernel"].as_str().unwrap()).collect();
    assert!(kernels.contains(&"matmul_register_8x8"), "{kernels:?}");
    assert!(kernels.iter().all(|k| !k.starts_with("matmul") || *k == "matmul_register_8x8"), "{kernels:?}");
}

#[test]
fn a_table_that_cannot_be_used_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let (_, file) = tuned(folder.path());
    let text = std::fs::read_to_string(&file).unwrap();
    let version = format!("lancet {}", env!("CARGO_PKG_VERSION"));
    let broken: [(Vec<u8>, &str); 6] = [
        (text.replace("adapter ", "adapter another ").into_bytes(), "written for adapter"),
        (text.replace(&version, "lancet 0.0.1").into_bytes(), "written for lancet \"0.0.1\""),
        (text.replace("driver ", "drover ").into_bytes(), "is expected"),
        (format!("{text}f32 f32 * * * matmul\n").into_bytes(), "6 words"),
        (text.lines().take(4).map(|l| format!("{l}\n")).collect::<String>().into_bytes(), "no rules"),
        (vec![0xff, 0xfe, 0x00], "UTF-8"),
    ];
    for (bytes, what) in broken {
        std::fs::write(&file, bytes).unwrap();
        let out = lancet(folder.path(), ["info"]);
        let message = String::from_utf8_lossy(&out.stderr).into_owned();
        assert!(!out.status.success() && out.stdout.is_empty(), "{what}: accepted");
        for part in [what, &*file.to_string_lossy(), "lancet tune --write"] {
            assert!(message.contains(part), "no {part} in: {message}");
        }
    }
    // The remedy in the message works.
    tuned(folder.path());
    succeed(folder.path(), ["info"]);
}

#[test]
fn bad_input() {
    let folder = tempfile::tempdir().unwrap();
    for (arguments, what) in [
        (["tune", "--rounds", "0"], "0 is not in 1..=1000"),
        (["tune", "--precision", "f8"], "f8"),
        (["tune", "--model", "no/such/file.safetensors"], "no such file"),
        (["tune", "--adapter", "no such adapter"], "no such adapter"),
    ] {
        let out = lancet(folder.path(), arguments);
        let message = String::from_utf8_lossy(&out.stderr).into_owned();
        assert!(!out.status.success() && message.contains(what), "{arguments:?}: {message}");
    }
    assert_eq!(listing(&folder.path().join("cache")), Vec::<String>::new(), "nothing is written");
}
