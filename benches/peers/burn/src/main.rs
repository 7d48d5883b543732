//! The CLIP ViT image encoder in burn on its wgpu backend, to be timed beside lancet:
//! in every run one image goes in from the host and every token's embedding comes back to it.

use std::fmt::Write as _;
use std::io::{self, BufRead, Write as _};
use std::process::ExitCode;
use std::time::Instant;

use burn::tensor::activation::{sigmoid, softmax};
use burn::tensor::module::{attention, conv2d, layer_norm, linear};
use burn::tensor::ops::{AttentionModuleOptions, ConvOptions};
use burn::tensor::wgpu::WgpuBackend;
use burn::tensor::{Device, DeviceKind, Tensor, TensorData};

mod weights;
use weights::Weights;

const USAGE: &str = "\
usage: burn-clip [--model b16|b32] [--runs N] [--warmup W] [--serve] [--weights FILE] [--gpu N]
                 [--layers] [--head]

  --model b16|b32   ViT-B/16 or ViT-B/32, 224 px, batch 1 (default b16)
  --runs N          timed runs (default 5)
  --warmup W        untimed runs before them (default 1); the first one also autotunes
  --serve           after the warm-up: one run per line read from stdin, its milliseconds on stdout
  --weights FILE    f32 safetensors in OpenAI / OpenCLIP layout (default: random weights)
  --gpu N           the Nth discrete GPU (default: the best adapter, or the software one)
  --layers          burn's own conv2d and attention operations (default: the same as matrix
                    products and a softmax, which was faster on the software adapter)
  --head            also print the first numbers of the output, to compare with another program
";

const WIDTH: usize = 768;
const LAYERS: usize = 12;
const HEADS: usize = 12;
const EMBED: usize = 512;
const SIZE: usize = 224;
const EPS: f64 = 1e-5;

struct Args {
    model: String,
    patch: usize,
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
        let mut args =
            Args { model: "b16".into(), patch: 16, runs: 5, warmup: 1, serve: false, weights: None, gpu: None, layers: false, head: false };
        while let Some(word) = words.next() {
            let mut value = || words.next().ok_or(format!("{word} needs a value"));
            let number = |text: String| text.parse::<usize>().map_err(|_| format!("{word}: `{text}` is not a whole number"));
            match word.as_str() {
                "--model" => args.model = value()?,
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
        if args.runs == 0 {
            return Err("--runs must be at least 1".into());
        }
        Ok(Some(args))
    }
}

struct Norm {
    gain: Tensor<1>,
    bias: Tensor<1>,
}

impl Norm {
    fn load(w: &mut Weights, name: &str, device: &Device) -> Result<Self, String> {
        Ok(Norm {
            gain: w.vector(&format!("{name}.weight"), WIDTH, 1.0, 0.02, device)?,
            bias: w.vector(&format!("{name}.bias"), WIDTH, 0.0, 0.02, device)?,
        })
    }

    fn apply(&self, x: Tensor<3>) -> Tensor<3> {
        layer_norm(x, self.gain.clone(), Some(self.bias.clone()), EPS)
    }
}

struct Dense {
    /// [in, out], as burn's own `Linear` keeps it.
    weight: Tensor<2>,
    bias: Tensor<1>,
}

impl Dense {
    fn load(w: &mut Weights, (weight, bias): (&str, &str), [inputs, outputs]: [usize; 2], device: &Device) -> Result<Self, String> {
        Ok(Dense { weight: w.matrix_transposed(weight, &[outputs, inputs], device)?, bias: w.vector(bias, outputs, 0.0, 0.02, device)? })
    }

    fn apply(&self, x: Tensor<3>) -> Tensor<3> {
        linear(x, self.weight.clone(), Some(self.bias.clone()))
    }
}

struct Block {
    norm1: Norm,
    qkv: Dense,
    out: Dense,
    norm2: Norm,
    up: Dense,
    down: Dense,
}

impl Block {
    fn load(w: &mut Weights, index: usize, device: &Device) -> Result<Self, String> {
        let at = |tail: &str| format!("visual.transformer.resblocks.{index}.{tail}");
        let mut dense = |stem: &str, weight: &str, bias: &str, shape: [usize; 2]| {
            let (weight, bias) = (at(&format!("{stem}{weight}")), at(&format!("{stem}{bias}")));
            Dense::load(w, (&weight, &bias), shape, device)
        };
        let (wide, square) = (4 * WIDTH, [WIDTH, WIDTH]);
        Ok(Block {
            qkv: dense("attn.", "in_proj_weight", "in_proj_bias", [WIDTH, 3 * WIDTH])?,
            out: dense("attn.out_proj.", "weight", "bias", square)?,
            up: dense("mlp.c_fc.", "weight", "bias", [WIDTH, wide])?,
            down: dense("mlp.c_proj.", "weight", "bias", [wide, WIDTH])?,
            norm1: Norm::load(w, &at("ln_1"), device)?,
            norm2: Norm::load(w, &at("ln_2"), device)?,
        })
    }

    fn apply(&self, x: Tensor<3>, layers: bool) -> Tensor<3> {
        let [batch, tokens, _] = x.dims();
        let qkv = self.qkv.apply(self.norm1.apply(x.clone()));
        let heads = |part: usize| qkv.clone().narrow(2, part * WIDTH, WIDTH).reshape([batch, tokens, HEADS, WIDTH / HEADS]).swap_dims(1, 2);
        let (q, k, v) = (heads(0), heads(1), heads(2));
        let mixed = if layers {
            // The default scale is 1/sqrt(head width), CLIP's own.
            attention(q, k, v, None, None, AttentionModuleOptions::default())
        } else {
            let scale = ((WIDTH / HEADS) as f32).sqrt().recip();
            softmax(q.matmul(k.swap_dims(2, 3)) * scale, 3).matmul(v)
        };
        let mixed = mixed.swap_dims(1, 2).reshape([batch, tokens, WIDTH]);
        let x = x + self.out.apply(mixed);
        let hidden = self.up.apply(self.norm2.apply(x.clone()));
        let hidden = hidden.clone() * sigmoid(hidden * 1.702); // QuickGELU
        x + self.down.apply(hidden)
    }
}

/// The patch convolution: its stride is its kernel, so it is also one matrix product.
enum Patches {
    Convolution(Tensor<4>),
    Product(Tensor<2>),
}

struct Encoder {
    patches: Patches,
    class: Tensor<3>,
    positions: Tensor<3>,
    norm_pre: Norm,
    blocks: Vec<Block>,
    norm_post: Norm,
    projection: Tensor<2>,
    patch: usize,
}

impl Encoder {
    fn load(w: &mut Weights, patch: usize, layers: bool, device: &Device) -> Result<Self, String> {
        let tokens = (SIZE / patch).pow(2) + 1;
        let (name, shape) = ("visual.conv1.weight", [WIDTH, 3, patch, patch]);
        let patches = if layers {
            Patches::Convolution(w.tensor(name, shape, device)?)
        } else {
            Patches::Product(w.matrix_transposed(name, &shape, device)?)
        };
        Ok(Encoder {
            patches,
            class: w.vector("visual.class_embedding", WIDTH, 0.0, 0.02, device)?.reshape([1, 1, WIDTH]),
            positions: w.tensor("visual.positional_embedding", [tokens, WIDTH], device)?.reshape([1, tokens, WIDTH]),
            norm_pre: Norm::load(w, "visual.ln_pre", device)?,
            blocks: (0..LAYERS).map(|index| Block::load(w, index, device)).collect::<Result<_, _>>()?,
            norm_post: Norm::load(w, "visual.ln_post", device)?,
            projection: w.tensor("visual.proj", [WIDTH, EMBED], device)?,
            patch,
        })
    }

    /// [1, 3, 224, 224] to the embedding of every token, [1, tokens, 512].
    fn apply(&self, image: Tensor<4>) -> Tensor<3> {
        let (patch, grid) = (self.patch, SIZE / self.patch);
        let x = match &self.patches {
            Patches::Convolution(weight) => {
                let options = ConvOptions::new([patch, patch], [0, 0], [1, 1], 1);
                let x = conv2d(image, weight.clone(), None, options);
                x.flatten(2, 3).swap_dims(1, 2)
            }
            Patches::Product(weight) => {
                let x: Tensor<5> = image.reshape([3, grid, patch, grid, patch]);
                let x = x.permute([1, 3, 0, 2, 4]);
                let x = x.reshape([1, grid * grid, 3 * patch * patch]);
                linear(x, weight.clone(), None)
            }
        };
        let x = Tensor::cat(vec![self.class.clone(), x], 1) + self.positions.clone();
        let x = self.norm_pre.apply(x);
        let layers = matches!(self.patches, Patches::Convolution(_));
        let x = self.blocks.iter().fold(x, |x, block| block.apply(x, layers));
        linear(self.norm_post.apply(x), self.projection.clone(), None)
    }
}

/// A fixed picture: smooth waves, about the range of a normalised photograph.
fn picture() -> Vec<f32> {
    (0..3 * SIZE * SIZE)
        .map(|i| {
            let (c, y, x) = (i / (SIZE * SIZE), i / SIZE % SIZE, i % SIZE);
            ((x as f32 * 0.07 + c as f32).sin() + (y as f32 * 0.05).cos()) * 0.9
        })
        .collect()
}

fn median(sorted: &[f64]) -> f64 {
    let mid = sorted.len() / 2;
    match sorted.len() % 2 {
        0 => (sorted[mid - 1] + sorted[mid]) / 2.0,
        _ => sorted[mid],
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
    let encoder = Encoder::load(&mut weights, args.patch, args.layers, &device)?;
    drop(weights);

    let pixels = picture();
    let tokens = (SIZE / args.patch).pow(2) + 1;
    let once = || -> Result<(f64, Vec<f32>), String> {
        let clock = Instant::now();
        let data = TensorData::new(pixels.clone(), [1, 3, SIZE, SIZE]);
        let output = encoder.apply(Tensor::from_data(data, &device));
        // Reading the result back is what waits for the device.
        let output = output.try_into_data().map_err(|error| error.to_string())?;
        let ms = clock.elapsed().as_secs_f64() * 1e3;
        let output = output.try_into_vec::<f32>().map_err(|error| format!("{error:?}"))?;
        if output.len() != tokens * EMBED || output.iter().any(|v| !v.is_finite()) {
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
            "median_ms": round(median(&sorted)),
            "min_ms": round(sorted[0]),
            "runs": runs.iter().copied().map(round).collect::<Vec<_>>(),
            "cold_start_s": cold.map(round),
        });
        println!("{report}");
    }
    if args.head && !last.is_empty() {
        let mut text = String::new();
        for token in [0, 1, tokens - 1] {
            let row = &last[token * EMBED..][..6];
            writeln!(text, "token {token}: {row:?}").map_err(|error| error.to_string())?;
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
