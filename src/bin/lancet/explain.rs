//! `lancet explain`: heat maps of what each label lights up.

use crate::args::{LabelArgs, MethodArgs, ModelArgs};
use crate::model::{Loaded, load};
use crate::output::{OutDir, file_label, npy, png};
use crate::progress::Stages;
use crate::sheet::{Tile, sheet};
use anyhow::Result;
use lancet::clip::decode::Decoded;
use lancet::reference::jet;
use lancet::{Explainer, LabelMap, Method};
use serde::Serialize;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Show where a CLIP sees each label: overlays, a contact sheet, raw maps
///
/// Example: lancet explain photo.jpg "dog" "bench" "sky" --out maps
#[derive(Debug, clap::Args)]
pub struct Args {
    /// A PNG, JPEG or WebP file
    image: PathBuf,
    /// What to look for
    labels: Vec<String>,
    #[command(flatten)]
    model: ModelArgs,
    #[command(flatten)]
    method: MethodArgs,
    #[command(flatten)]
    prompts: LabelArgs,
    /// Folder for the results
    #[arg(long, default_value = "lancet-out", value_name = "DIR")]
    out: PathBuf,
    /// Also write each map as a transparent picture to lay over others (NAME.LABEL.alpha.png)
    #[arg(long)]
    alpha: bool,
    /// Also write each map as f32 [H, W] in 0..1 (NAME.LABEL.npy)
    #[arg(long)]
    npy: bool,
    /// Also write scores, peaks, settings and times (NAME.json)
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Serialize)]
struct Report {
    image: String,
    size: [u32; 2],
    model: String,
    method: String,
    notice: Option<String>,
    input_size: [u32; 2],
    grid: [u32; 2],
    templates: String,
    precision: &'static str,
    adapter: String,
    backend: String,
    labels: Vec<LabelReport>,
    sheet: String,
    activation_bytes: u64,
    time_ms: BTreeMap<&'static str, f64>,
}

#[derive(Debug, Serialize)]
struct LabelReport {
    label: String,
    /// Cosine of the class row with the label; plain CLIP's for clip and surgery.
    score: f32,
    /// Strongest place.
    peak: Peak,
    overlay: String,
    map: Option<String>,
}

#[derive(Debug, Serialize)]
struct Peak {
    x: u32,
    y: u32,
    /// The method's score of the strongest patch, before the map was stretched to 0..1.
    score: f32,
}

/// Runs `lancet explain`.
pub fn run(args: &Args) -> Result<()> {
    let labels = args.prompts.names(&args.labels)?;
    let method = Method::named(&args.method.method)?;
    let mut stages = Stages::new(args.model.quiet);

    stages.begin("decode", format!("reading {}", args.image.display()));
    let decoded = Decoded::open(&args.image)?;
    let mut out = OutDir::open(&args.out)?;
    stages.begin("load", format!("loading {}", args.model.model));
    let loaded = load(&args.model)?;
    let model_size = args.method.size.of(&loaded.clip, decoded.size());

    let embedded = args.prompts.embed(&loaded.clip, &labels, &mut stages)?;
    let mut explainer = Explainer::new(&loaded.clip, &embedded, &method)?;
    if let Some(notice) = explainer.notice() {
        eprintln!("note: {notice}");
    }

    stages.begin("explain", "explaining");
    let mut results = Results { args, stem: stem(&args.image), out: &mut out, names: Vec::new(), tiles: Vec::new(), reports: Vec::new() };
    let image = decoded.image();
    results.tiles.push(Tile::new("", decoded.rgba(), decoded.size()));
    let (size, grid) = pollster::block_on(explainer.explain_each(&image, model_size, |_, label| {
        // Drawing and encoding a label overlaps nothing: it is counted here, and small beside the network.
        results.add(label, decoded.size()).map_err(|e| lancet::Error::Input { what: format!("{e:#}") })
    }))?;

    stages.begin("write", "writing");
    let Results { stem, tiles, reports, .. } = results;
    let sheet_name = format!("{stem}.sheet.png");
    let (pixels, sheet_size) = sheet(&tiles);
    let sheet_path = out.stage(&sheet_name, |w| png(w, &pixels, sheet_size))?;
    let time_ms = stages.finish();
    let report = report(args, &loaded, &explainer, size, grid, model_size, reports, sheet_name, &time_ms);
    if args.json {
        out.stage(&format!("{stem}.json"), |w| Ok(serde_json::to_writer_pretty(w, &report)?))?;
    }
    out.commit()?;
    if !args.model.quiet {
        summary(&report, &sheet_path);
    }
    Ok(())
}

fn stem(image: &Path) -> String {
    image.file_stem().map_or_else(|| "image".into(), |s| s.to_string_lossy().into_owned())
}

/// Files and reports, label by label.
struct Results<'a> {
    args: &'a Args,
    stem: String,
    out: &'a mut OutDir,
    names: Vec<String>,
    tiles: Vec<Tile>,
    reports: Vec<LabelReport>,
}

impl Results<'_> {
    fn add(&mut self, label: LabelMap, size: [u32; 2]) -> Result<()> {
        // Two labels may look the same once what file systems dislike is gone.
        let wanted = file_label(&label.label);
        let name = (1..)
            .map(|n| if n == 1 { wanted.clone() } else { format!("{wanted}-{n}") })
            .find(|n| !self.names.contains(n))
            .unwrap_or(wanted);
        let base = format!("{}.{name}", self.stem);
        self.names.push(name);
        let overlay = format!("{base}.png");
        self.out.stage(&overlay, |w| png(w, &label.overlay, size))?;
        if self.args.alpha {
            self.out.stage(&format!("{base}.alpha.png"), |w| png(w, &transparent(&label.map), size))?;
        }
        let map = self.args.npy.then(|| format!("{base}.npy"));
        if let Some(map) = &map {
            self.out.stage(map, |w| npy(w, &label.map, &[u64::from(size[1]), u64::from(size[0])]))?;
        }
        self.tiles.push(Tile::new(&format!("{}  {:.3}", label.label, label.score), &label.overlay, size));
        let peak = Peak { x: label.peak[0], y: label.peak[1], score: label.peak_score };
        self.reports.push(LabelReport { label: label.label, score: label.score, peak, overlay, map });
        Ok(())
    }
}

/// The map's colours, as opaque as the map is strong.
fn transparent(map: &[f32]) -> Vec<u8> {
    map.iter()
        .flat_map(|&v| {
            let level = (255.0 * v.clamp(0.0, 1.0)) as u8;
            let [r, g, b] = jet(level);
            [r, g, b, level]
        })
        .collect()
}

#[expect(clippy::too_many_arguments, reason = "everything the JSON says")]
fn report(
    args: &Args,
    loaded: &Loaded,
    explainer: &Explainer,
    size: [u32; 2],
    grid: [u32; 2],
    input_size: [u32; 2],
    labels: Vec<LabelReport>,
    sheet: String,
    times: &[(&'static str, f64)],
) -> Report {
    let caps = loaded.engine.caps();
    Report {
        image: args.image.display().to_string(),
        size,
        model: loaded.path.display().to_string(),
        method: explainer.method().name.to_string(),
        notice: explainer.notice().map(str::to_owned),
        input_size,
        grid,
        templates: args.prompts.templates.clone(),
        precision: args.model.precision_name(),
        adapter: caps.adapter.clone(),
        backend: format!("{:?}", caps.backend),
        labels,
        sheet,
        activation_bytes: explainer.memory().map_or(0, |m| m.activations),
        time_ms: times.iter().copied().collect(),
    }
}

fn summary(report: &Report, sheet: &Path) {
    let width = report.labels.iter().map(|l| l.label.chars().count()).max().unwrap_or(0).max(5);
    println!("{:<width$}  score   peak (x, y)", "label");
    for l in &report.labels {
        println!("{:<width$}  {:>5.3}   {}, {}", l.label, l.score, l.peak.x, l.peak.y);
    }
    let total = report.time_ms.get("total").copied().unwrap_or(0.0) / 1e3;
    let [gw, gh] = report.grid;
    println!("{} on {}: {gw}x{gh} patches, {total:.2} s", report.method, report.adapter);
    println!("contact sheet: {}", sheet.display());
}
