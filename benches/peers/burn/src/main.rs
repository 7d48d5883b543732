//! CLIP's towers in burn on its wgpu backend, to be timed beside lancet: in every run one image goes in from the host and every
//! token's embedding comes back to it, or prompts go in and their embeddings come back.

use std::fmt::Write as _;
use std::io::{self, BufRead, Write as _};
use std::process::ExitCode;
use std::time::Instant;

use burn::tensor::wgpu::WgpuBackend;
use burn::tensor::{Device, DeviceKind, Tensor, TensorData};

mod blocks;
mod image;
mod text;
mod weights;
use blocks::EMBED;
use image::{Encoder, SIZE, picture};
use text::Tower;
use weights::Weights;

const USAGE: &str = "\
usage: burn-clip [--model b16|b32] [--texts P] [--runs N] [--warmup W] [--serve] [--weights FILE] [--gpu N]
                 [--layers] [--head]

  --model b16|b32   ViT-B/16 or ViT-B/32, 224 px, batch 1 (default b16)
  --texts P         ViT-B/16's text tower on P prompts padded to 77 tokens, instead of an image
  --runs N          timed runs (default 5)
  --warmup W        untimed runs before them (default 1); the first one also autotunes
  --serve           after the warm-up: one run per line read from stdin, its milliseconds on stdout
  --weights FILE    f32 safetensors in OpenAI / OpenCLIP layout (default: random weights)
  --gpu N           the Nth discrete GPU (default: the best adapter, or the software one)
  --layers          burn's own conv2d and attention operations (default: the same as matrix
                    products and a softmax, which was faster on the software adapter)
  --head            also print the first numbers of the output, to compare with another program
";

struct Args {
    model: String,
    patch: usize,
    texts: Option<usize>,
    runs: usize,
    warmup: usize,
    serve: bool,
    weights: Option<String>,
    gpu: Option<usize>,
    layers: bool,
    head: bool,
}

impl Args {
    fn parse(mut words: impl Iterator<Item = String>) -> Result<Option<Self>, String> {
        let mut args = Args {
            model: "b16".into(),
            patch: 16,
            texts: None,
            runs: 5,
            warmup: 1,
            serve: false,
            weights: None,
            gpu: None,
            layers: false,
            head: false,
        };
        while let Some(word) = words.next() {
            let mut value = || words.next().ok_or(format!("{word} needs a value"));
            let number = |text: String| text.parse::<usize>().map_err(|_| format!("{word}: `{text}` is not a whole number"));
            match word.as_str() {
                "--model" => args.model = value()?,
                "--texts" => args.texts = Some(number(value()?)?.max(1)),
                "--runs" => args.runs = number(value()?)?,
                "--warmup" => args.warmup = number(value()?)?,
                "--serve" => args.serve = true,
                "--weights" => args.weights = Some(value()?),
                "--gpu" => args.gpu = Some(number(value()?)?),
                "--layers" => args.layers = true,
                "--head" => args.head = true,
                "-h" | "--help" => return Ok(None),
                other => return Err(format!("unknown argument `{other}`")),
            }
        }
        args.patch = match args.model.as_str() {
            "b16" => 16,
            "b32" => 32,
            other => return Err(format!("--model: `{other}` is neither b16 nor b32")),
        };
        if args.texts.is_some() && args.layers {
            return Err("--layers is of the image encoder: there is no text tower in burn's own attention".into());
        }
        if args.runs == 0 {
            return Err("--runs must be at least 1".into());
        }
        Ok(Some(args))
    }
}

fn median(sorted: &[f64]) -> f64 {
    let mid = sorted.len() / 2;
    match sorted.len() % 2 {
        0 => (sorted[mid - 1] + sorted[mid]) / 2.0,
        _ => sorted[mid],
    }
}

/// What a run does.
enum Job {
    Image(Encoder, Vec<f32>),
    Texts(Tower, Vec<i32>, usize),
}

impl Job {
    fn rows(&self, patch: usize) -> usize {
        match self {
            Job::Image(..) => (SIZE / patch).pow(2) + 1,
            Job::Texts(_, _, prompts) => *prompts,
        }
    }

    /// From the input on the host to the output on the device.
    fn run(&self, device: &Device) -> Tensor<3> {
        match self {
            Job::Image(encoder, pixels) => encoder.apply(Tensor::from_data(TensorData::new(pixels.clone(), [1, 3, SIZE, SIZE]), device)),
            Job::Texts(tower, ids, prompts) => tower.apply(ids, *prompts, device),
        }
    }
}

fn run(args: &Args, started: Instant) -> Result<(), String> {
    let kind = args.gpu.map_or(DeviceKind::DefaultDevice, DeviceKind::DiscreteGpu);
    let (device, setup) = Device::wgpu_options()
        .device_kind(kind)
        .graphics_api(WgpuBackend::Vulkan)
        .init_with_setup()
        .map_err(|error| format!("no Vulkan adapter that burn can use: {error}"))?;
    let info = setup.adapter.get_info();
    let adapter = format!("{} ({}, {:?})", info.name, info.driver_info, info.backend);

    let mut weights = match &args.weights {
        Some(path) => Weights::open(path)?,
        None => Weights::random(7),
    };
    let job = match args.texts {
        None => Job::Image(Encoder::load(&mut weights, args.patch, args.layers, &device)?, picture()),
        Some(prompts) => Job::Texts(Tower::load(&mut weights, &device)?, text::ids(prompts), prompts),
    };
    drop(weights);

    let rows = job.rows(args.patch);
    let once = || -> Result<(f64, Vec<f32>), String> {
        let clock = Instant::now();
        // Reading the result back is what waits for the device.
        let output = job.run(&device).try_into_data().map_err(|error| error.to_string())?;
        let ms = clock.elapsed().as_secs_f64() * 1e3;
        let output = output.try_into_vec::<f32>().map_err(|error| format!("{error:?}"))?;
        if output.len() != rows * EMBED || output.iter().any(|v| !v.is_finite()) {
            return Err("the output has the wrong size or is not finite".into());
        }
        Ok((ms, output))
    };

    let mut cold = None;
    let mut last = Vec::new();
    for _ in 0..args.warmup {
        last = once()?.1;
        cold.get_or_insert(started.elapsed().as_secs_f64());
    }

    let mut runs = Vec::new();
    if args.serve {
        eprintln!("burn-clip: ready on {adapter}");
        for line in io::stdin().lock().lines() {
            line.map_err(|error| error.to_string())?;
            let (ms, output) = once()?;
            last = output;
            println!("{ms:.3}");
            io::stdout().flush().map_err(|error| error.to_string())?;
        }
    } else {
        for _ in 0..args.runs {
            let (ms, output) = once()?;
            cold.get_or_insert(started.elapsed().as_secs_f64());
            last = output;
            runs.push(ms);
        }
        let mut sorted = runs.clone();
        sorted.sort_by(f64::total_cmp);
        let report = serde_json::json!({
            "runtime": "burn",
            "version": "0.22.1",
            "operations": if args.layers { "layers" } else { "products" },
            "compiler": if cfg!(feature = "spirv") { "spirv" } else { "wgsl" },
            "adapter": adapter,
            "model": args.model,
            "texts": args.texts,
            "median_ms": round(median(&sorted)),
            "min_ms": round(sorted[0]),
            "runs": runs.iter().copied().map(round).collect::<Vec<_>>(),
            "cold_start_s": cold.map(round),
        });
        println!("{report}");
    }
    if args.head && !last.is_empty() {
        let mut text = String::new();
        for token in [0, 1.min(rows - 1), rows - 1] {
            let row = &last[token * EMBED..][..6];
            writeln!(text, "row {token}: {row:?}").map_err(|error| error.to_string())?;
        }
        eprint!("{text}");
    }
    Ok(())
}

fn round(value: f64) -> f64 {
    (value * 1e3).round() / 1e3
}

fn main() -> ExitCode {
    let started = Instant::now();
    let result = match Args::parse(std::env::args().skip(1)) {
        Ok(Some(args)) => run(&args, started),
        Ok(None) => {
            print!("{USAGE}");
            return ExitCode::SUCCESS;
        }
        Err(message) => {
            eprint!("burn-clip: {message}\n\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("burn-clip: {message}");
            ExitCode::FAILURE
        }
    }
}
