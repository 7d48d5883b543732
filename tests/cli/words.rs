//! `lancet words`: files, ranks, and sentences that say nothing.

use crate::{lancet, listing, scene, succeed};
use serde_json::Value;
use std::fs;

#[test]
fn words_are_ranked_and_drawn() {
    let folder = tempfile::tempdir().unwrap();
    let image = scene();
    let said = succeed(folder.path(), ["words", image.to_str().unwrap(), "A teddy bear & a <house>.", "--out", "w", "--json"]);
    assert!(said.contains("teddy") && said.contains("scene.words.html"), "{said}");
    let out = folder.path().join("w");
    let report: Value = serde_json::from_slice(&fs::read(out.join("scene.words.json")).unwrap()).unwrap();
    let words = report["words"].as_array().unwrap();
    let of = |part: &str| words.iter().filter(|w| w["part"] == part).collect::<Vec<_>>();
    let texts: Vec<&str> = of("word").iter().map(|w| w["text"].as_str().unwrap()).collect();
    assert_eq!(texts, ["a", "teddy", "bear", "a", "house"]);
    assert_eq!(of("marker").len(), 2);
    assert!(of("marker").iter().chain(&of("sign")).all(|w| w["rank"].is_null()), "only words are ranked");
    // Ranks follow similarities, and those are the means of the tokens'.
    let mut ranked = of("word");
    ranked.sort_by_key(|w| w["rank"].as_u64());
    assert_eq!(ranked.iter().map(|w| w["rank"].as_u64().unwrap()).collect::<Vec<_>>(), [1, 2, 3, 4, 5]);
    assert!(ranked.windows(2).all(|w| w[0]["similarity"].as_f64() >= w[1]["similarity"].as_f64()));
    let tokens = report["tokens"].as_array().unwrap();
    for (i, word) in words.iter().enumerate() {
        let own: Vec<&Value> = tokens.iter().filter(|t| t["word"] == i).collect();
        let mean = own.iter().map(|t| t["similarity"].as_f64().unwrap()).sum::<f64>() / own.len() as f64;
        assert!((mean - word["similarity"].as_f64().unwrap()).abs() < 1e-6);
        let ids: Vec<&Value> = own.iter().map(|t| &t["id"]).collect();
        assert_eq!(ids, word["ids"].as_array().unwrap().iter().collect::<Vec<_>>());
    }
    // A picture per word and sign, the caption, the sheet, the page, the report.
    let shown = words.len() - 2;
    assert_eq!(listing(&out).len(), shown + 4);
    let caption = image::open(out.join("scene.words.png")).unwrap().to_rgb8();
    assert!(caption.pixels().any(|p| p.0 == [200, 30, 30]), "the first word's colour");
    let html = fs::read_to_string(out.join("scene.words.html")).unwrap();
    assert_eq!(html.matches("class=\"heat\"").count(), shown);
    assert!(!html.contains("<house>") && !html.contains("http"), "escaped, and self-contained");
}

#[test]
fn both_variants_give_other_maps_of_the_same_words() {
    let folder = tempfile::tempdir().unwrap();
    let image = scene();
    let run = |method: &str| {
        succeed(folder.path(), ["words", image.to_str().unwrap(), "house and tree", "--method", method, "--out", method, "--json", "-q"]);
        let report: Value = serde_json::from_slice(&fs::read(folder.path().join(method).join("scene.words.json")).unwrap()).unwrap();
        (report["words"][1]["similarity"].as_f64().unwrap(), fs::read(folder.path().join(method).join("scene.01.house.png")).unwrap())
    };
    let (empty, sentence) = (run("surgery-empty-text"), run("surgery"));
    assert!((empty.0 - sentence.0).abs() < 1e-6, "ranks go by plain cosines");
    assert_ne!(empty.1, sentence.1);
}

#[test]
fn sentences_without_a_word_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let image = scene();
    for (arguments, word) in [
        (["words", image.to_str().unwrap(), " ... ", "--out", "w"], "no word"),
        (["words", image.to_str().unwrap(), "", "--out", "w"], "no word"),
        (["words", "nowhere.png", "a dog", "--out", "w"], "nowhere.png"),
        (["words", image.to_str().unwrap(), "a dog", "--method", "gradcam"], "gradcam"),
    ] {
        let out = lancet(folder.path(), arguments);
        let said = String::from_utf8_lossy(&out.stderr);
        assert!(!out.status.success() && said.contains(word) && !said.contains("panicked"), "{said}");
        assert!(!folder.path().join("w").exists(), "nothing is left behind");
    }
}
