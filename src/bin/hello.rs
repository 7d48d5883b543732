//! The whole of lancet in ten lines: a model, a picture and some words; how well each word fits, and where it is strongest.
//!
//! ```text
//! cargo run --release --bin hello                                    the bundled picture
//! cargo run --release --bin hello -- photo.jpg "a dog" bench sky     yours
//! ```
//!
//! The bundled model knows what its own pictures show (weights/demo/concepts.json); for photographs, open a larger one in
//! `Weights::open` and pass its input size, 224 for most, where 96 stands. An application with a GPU device of its own
//! reads `shared_device.rs` next.

use lancet::clip::decode::Decoded;
use lancet::{Clip, Engine, Explainer, Method, Templates, Weights};

async fn hello(picture: &str, words: &[String]) -> lancet::Result<()> {
    let engine = Engine::new(Default::default()).await?;
    let weights = Weights::open("weights/demo/open_clip_model.safetensors")?;
    let clip = Clip::load(&engine, &weights, Default::default())?;
    let labels = clip.labels(words, &Templates::ensemble()).await?;
    let mut explainer = Explainer::new(&clip, &labels, &Method::SURGERY)?;
    if let Some(notice) = explainer.notice() {
        println!("{notice}");
    }

    let picture = Decoded::open(picture)?;
    let found = explainer.explain(&picture.image(), [96, 96]).await?;
    for label in &found.labels {
        println!("{:<12} score {:.3}, strongest at {:?}", label.label, label.score, label.peak);
    }
    Ok(())
}

fn main() -> std::process::ExitCode {
    let mut arguments = std::env::args().skip(1);
    let picture = arguments.next().unwrap_or_else(|| "weights/demo/scene.png".into());
    let mut words: Vec<String> = arguments.collect();
    if words.is_empty() {
        words = ["house", "tree", "helicopter", "teddy bear", "basketball"].map(String::from).into();
    }
    match pollster::block_on(hello(&picture, &words)) {
        Ok(()) => std::process::ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("hello: {e}");
            std::process::ExitCode::FAILURE
        }
    }
}
