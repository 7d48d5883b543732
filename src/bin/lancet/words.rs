//! `lancet words`: which words of a sentence an image answers to, and where.

use crate::args::{self, METHOD_VALUE, ModelArgs, SizeArg};
use crate::model::load;
use crate::output::{OutDir, file_label, png};
use crate::progress::Stages;
use crate::sheet::{Tile, sheet};
use crate::words_page::{Shown, caption, page};
use anyhow::Result;
use lancet::Explainer;
use lancet::clip::decode::Decoded;
use lancet::explain::words::Part;
use lancet::explain::{Renderer, Sentence};
use serde::Serialize;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Explain a sentence word by word: a heat map per word, the caption coloured by rank, a page to hover over
///
/// Words are ranked by the cosine of their tokens with the image; a word of several byte pairs is the mean of them. Signs
/// and the start and end marker are scored (see --json) but not ranked: the end marker stands for the whole sentence.
///
/// Example: lancet words photo.jpg "a dog on a bench" --out words
#[derive(Debug, clap::Args)]
pub struct Args {
    /// A PNG, JPEG or WebP file
    image: PathBuf,
    /// What the image shows, in a sentence
    sentence: String,
    #[command(flatten)]
    model: ModelArgs,
    /// surgery-empty-text: minus what the empty text shows, as CLIP Surgery's author advises for sentences; surgery: minus
    /// what all tokens of the sentence share; or another of `lancet methods`, or a TOML file with a method of your own
    #[arg(long, value_name = METHOD_VALUE, default_value = "surgery-empty-text")]
    method: String,
    #[command(flatten)]
    size: SizeArg,
    /// Folder for the results
    #[arg(long, default_value = "lancet-out", value_name = "DIR")]
    out: PathBuf,
    /// Also write tokens, words, similarities, ranks, settings and times (NAME.words.json)
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Serialize)]
struct Report {
    image: String,
    size: [u32; 2],
    sentence: String,
    model: String,
    method: String,
    input_size: [u32; 2],
    grid: [u32; 2],
    adapter: String,
    tokens: Vec<TokenReport>,
    words: Vec<WordReport>,
    caption: String,
    page: String,
    sheet: String,
    time_ms: BTreeMap<&'static str, f64>,
}

#[derive(Debug, Serialize)]
struct TokenReport {
    id: u32,
    text: String,
    /// Cosine with the class row.
    similarity: f32,
    /// Index into `words`.
    word: usize,
}

#[derive(Debug, Serialize)]
struct WordReport {
    text: String,
    /// word, sign or marker; words alone have a rank.
    part: &'static str,
    tokens: Vec<usize>,
    ids: Vec<u32>,
    /// Mean of its tokens'.
    similarity: f32,
    rank: Option<usize>,
    /// (x, y) where the map is largest.
    peak: [u32; 2],
    /// The method's score there, before the map was stretched to 0..1.
    peak_score: f32,
    /// None for markers.
    overlay: Option<String>,
}

/// Runs `lancet words`.
pub fn run(args: &Args) -> Result<()> {
    let method = args::method(&args.method)?;
    let mut stages = Stages::new(args.model.quiet);
    stages.begin("decode", format!("reading {}", args.image.display()));
    let decoded = Decoded::open(&args.image)?;
    let mut out = OutDir::open(&args.out)?;
    stages.begin("load", format!("loading {}", args.model.model));
    let loaded = load(&args.model)?;
    let clip = &loaded.clip;
    let model_size = args.size.of(clip, decoded.size());

    stages.begin("sentence", "encoding the sentence");
    let sentence = pollster::block_on(Sentence::new(clip, &args.sentence))?;
    stages.begin("explain", "explaining");
    let mut explainer = Explainer::new(clip, sentence.labels(), &method)?;
    let scores = pollster::block_on(explainer.score(&[decoded.image()], model_size))?;
    let found = sentence.score(&scores, 0)?;

    stages.begin("draw", "drawing");
    let stem = args.image.file_stem().map_or_else(|| "image".into(), |s| s.to_string_lossy().into_owned());
    let size = decoded.size();
    let mut renderer = Renderer::new(clip.gpu(), scores.grid, &decoded.image())?;
    let mut tiles = vec![Tile::new("", decoded.rgba(), size)];
    let (mut words, mut shown) = (Vec::new(), Vec::new());
    for (word, score) in sentence.words().iter().zip(&found) {
        let drawn = pollster::block_on(renderer.draw(&score.map))?;
        let at = drawn.map.iter().enumerate().fold((0, f32::MIN), |best, (i, &v)| if v > best.1 { (i, v) } else { best }).0 as u32;
        let overlay = (word.part != Part::Marker).then(|| format!("{stem}.{:02}.{}.png", shown.len() + 1, file_label(&word.text)));
        if let Some(overlay) = &overlay {
            out.stage(overlay, |w| png(w, &drawn.overlay, size))?;
            let rank = score.rank.map(|r| format!("  #{r}")).unwrap_or_default();
            tiles.push(Tile::new(&format!("{}  {:.3}{rank}", word.text, score.cosine), &drawn.overlay, size));
            shown.push(Shown { text: word.text.clone(), rank: score.rank, similarity: score.cosine, map: drawn.map });
        }
        words.push(WordReport {
            text: word.text.clone(),
            part: match word.part {
                Part::Word => "word",
                Part::Sign => "sign",
                Part::Marker => "marker",
            },
            tokens: word.tokens.clone().collect(),
            ids: sentence.ids()[word.tokens.clone()].to_vec(),
            similarity: score.cosine,
            rank: score.rank,
            peak: [at % size[0], at / size[0]],
            peak_score: score.peak_score,
            overlay,
        });
    }

    stages.begin("write", "writing");
    let names = ["png", "html", "sheet.png"].map(|end| format!("{stem}.words.{end}"));
    let (pixels, caption_size) = caption(decoded.rgba(), size, &shown);
    let caption_path = out.stage(&names[0], |w| png(w, &pixels, caption_size))?;
    let html = page(&format!("{stem}: {}", args.sentence), decoded.rgba(), size, &shown)?;
    let page_path = out.stage(&names[1], |w| Ok(w.write_all(html.as_bytes())?))?;
    let (pixels, sheet_size) = sheet(&tiles);
    out.stage(&names[2], |w| png(w, &pixels, sheet_size))?;
    let time_ms = stages.finish();
    let [caption, page, sheet] = names;
    let report = Report {
        image: args.image.display().to_string(),
        size,
        sentence: args.sentence.clone(),
        model: loaded.path.display().to_string(),
        method: explainer.method().name.to_string(),
        input_size: model_size,
        grid: scores.grid,
        adapter: loaded.engine.caps().adapter.clone(),
        tokens: tokens(&sentence, &scores.class_cosines),
        words,
        caption,
        page,
        sheet,
        time_ms: time_ms.into_iter().collect(),
    };
    if args.json {
        out.stage(&format!("{stem}.words.json"), |w| Ok(serde_json::to_writer_pretty(w, &report)?))?;
    }
    out.commit()?;
    if !args.model.quiet {
        summary(&report, &caption_path, &page_path);
    }
    Ok(())
}

fn tokens(sentence: &Sentence, cosines: &[f32]) -> Vec<TokenReport> {
    let words = sentence.words().iter().enumerate().flat_map(|(i, word)| word.tokens.clone().map(move |_| i));
    let names = sentence.labels().names().iter();
    let all = sentence.ids().iter().zip(names).zip(cosines).zip(words);
    all.map(|(((&id, text), &similarity), word)| TokenReport { id, text: text.clone(), similarity, word }).collect()
}

fn summary(report: &Report, caption: &Path, page: &Path) {
    let mut ranked: Vec<&WordReport> = report.words.iter().filter(|w| w.rank.is_some()).collect();
    ranked.sort_by_key(|w| w.rank);
    let width = ranked.iter().map(|w| w.text.chars().count()).max().unwrap_or(0).max(4);
    out!("rank  {:<width$}  cosine  peak (x, y)", "word");
    for w in ranked {
        out!("{:>4}  {:<width$}  {:>6.3}  {}, {}", w.rank.unwrap_or(0), w.text, w.similarity, w.peak[0], w.peak[1]);
    }
    let total = report.time_ms.get("total").copied().unwrap_or(0.0) / 1e3;
    out!("{} on {}: {}x{} patches, {total:.2} s", report.method, report.adapter, report.grid[0], report.grid[1]);
    out!("caption: {}\npage:    {}", caption.display(), page.display());
}
