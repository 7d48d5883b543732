//! What cannot work is an error with words, and the host's own handlers hear nothing of it.

use crate::common::Random;
use crate::host::{Host, assert_same, beside_others, demo, input, labels, picture, shared};
use lancet::clip::model::check_finite;
use lancet::gpu::Source;
use lancet::shape::DType;
use lancet::{Clip, Engine, Error, Explainer, Image, Labels, LoadOptions, Method, SourceKind, Templates, Weights, wgpu};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

const SIZE: [u32; 2] = [24, 16];
const MODEL: [u32; 2] = [32, 24];

#[track_caller]
fn message<T>(result: lancet::Result<T>, words: &[&str]) -> Error {
    let Err(e) = result else { panic!("no error; expected one with {words:?}") };
    let text = e.to_string();
    assert!(words.iter().all(|w| text.contains(w)), "\"{text}\" lacks some of {words:?}");
    e
}

#[test]
fn a_source_of_another_kind_or_size() {
    let _turn = beside_others();
    let host = shared();
    let pixels = picture(SIZE, 1);
    let right = host.buffer(&pixels);
    let short = host.buffer(&pixels[..pixels.len() - 4]);
    let not_storage = host.buffer_of(pixels.len() as u64, wgpu::BufferUsages::COPY_SRC, &pixels);
    let view = || host.texture(SIZE, wgpu::TextureFormat::Rgba8Unorm, &pixels);
    let turned = host.texture([16, 24], wgpu::TextureFormat::Rgba8Unorm, &pixels);
    let (views, two, turned) = ([view()], [view(), view()], [turned]);

    let mut plan = host.plan(&input(SourceKind::Rgba8, 1, SIZE, MODEL));
    let mut encoder = host.encoder();
    let words = ["source", "an RGBA8 buffer of at least 1536 bytes"];
    message(plan.record(&mut encoder, Source::None), &[words[0], words[1], "nothing"]);
    message(plan.record(&mut encoder, Source::Rgba8(&short)), &[words[0], words[1], "a buffer of 1532 bytes"]);
    message(plan.record(&mut encoder, Source::Textures(&views)), &[words[0], words[1], "textures of", "24x16"]);
    message(plan.record(&mut encoder, Source::Rgba8(&not_storage)), &["preprocess", "STORAGE"]);
    // The encoder and the plan are as good as before.
    plan.record(&mut encoder, Source::Rgba8(&right)).unwrap();
    host.submit(encoder);
    let want = host.read(plan.outputs());
    want.check();

    let mut plan = host.plan(&input(SourceKind::Textures, 1, SIZE, MODEL));
    let mut encoder = host.encoder();
    let words = ["source", "1 texture(s) of 24x16"];
    message(plan.record(&mut encoder, Source::None), &[words[0], words[1], "nothing"]);
    message(plan.record(&mut encoder, Source::Rgba8(&right)), &[words[0], words[1], "a buffer of 1536 bytes"]);
    message(plan.record(&mut encoder, Source::Textures(&turned)), &[words[0], words[1], "16x24"]);
    message(plan.record(&mut encoder, Source::Textures(&two)), &[words[0], words[1], "\"24x16\", \"24x16\""]);
    message(plan.record(&mut encoder, Source::Textures(&[])), &[words[0], words[1]]);
    plan.record(&mut encoder, Source::Textures(&views)).unwrap();
    host.submit(encoder);
    assert_same("after errors", &host.read(plan.outputs()), &want);
}

#[test]
fn a_source_that_fails_half_way_leaves_the_plan_intact() {
    let _turn = beside_others();
    let host = shared();
    let view = |seed, format| host.texture(SIZE, format, &picture(SIZE, seed));
    let rgba = wgpu::TextureFormat::Rgba8Unorm;
    let (right, other) = ([view(1, rgba), view(2, rgba)], view(3, rgba));
    // Integers cannot be sampled as floats; this is the second texture, found out after the first was taken.
    let bad = [other, view(4, wgpu::TextureFormat::Rgba8Uint)];
    let mut plan = host.plan(&input(SourceKind::Textures, 2, SIZE, MODEL));
    let want = host.run(&mut plan, Source::Textures(&right));
    message(plan.record(&mut host.encoder(), Source::Textures(&bad)), &["preprocess.load_texture"]);
    assert_same("the first source again", &host.run(&mut plan, Source::Textures(&right)), &want);
}

#[test]
fn srgb_textures_are_refused() {
    let _turn = beside_others();
    let host = shared();
    let srgb = [host.texture(SIZE, wgpu::TextureFormat::Rgba8UnormSrgb, &picture(SIZE, 1))];
    let mut plan = host.plan(&input(SourceKind::Textures, 1, SIZE, MODEL));
    message(plan.record(&mut host.encoder(), Source::Textures(&srgb)), &["Rgba8UnormSrgb", "sRGB"]);
}

#[test]
fn a_source_buffer_may_be_larger_than_a_binding() {
    let _turn = beside_others();
    let host = shared();
    let pixels = picture(SIZE, 1);
    let mut plan = host.plan(&input(SourceKind::Rgba8, 1, SIZE, MODEL));
    let want = host.run(&mut plan, Source::Rgba8(&host.buffer(&pixels)));
    // A host's ring of frames: the image lies at its start.
    let limit = host.device.limits().max_storage_buffer_binding_size;
    let large = host.buffer_of(limit + 1024, wgpu::BufferUsages::STORAGE, &pixels);
    assert_same("a large buffer", &host.run(&mut plan, Source::Rgba8(&large)), &want);
}

#[test]
fn sizes_beyond_the_device() {
    let _turn = beside_others();
    let host = shared();
    let explainer = host.explainer();
    let plan = |images, size, model, output, overlays| {
        explainer.plan(&input(SourceKind::Rgba8, images, size, model), output, overlays).map(|_| ())
    };
    let too_small = |result: lancet::Result<()>, words: &[&str]| {
        let e = message(result, words);
        assert!(matches!(e, Error::DeviceTooSmall { .. }), "{e}");
    };
    let binding = ["max_storage_buffer_binding_size", "134217728", "128.0 MiB"];
    too_small(plan(1, [40_000, 40_000], MODEL, SIZE, false), &["the source image", binding[0], binding[1], binding[2], "6400000000"]);
    too_small(plan(1, SIZE, [30_000, 30_000], SIZE, false), &["preprocess.value [1, 30000, 30000]", "--size"]);
    too_small(plan(400, SIZE, [96, 96], SIZE, false), &["vision.block.0", binding[0], "a smaller batch"]);
    too_small(plan(1, SIZE, MODEL, [4_000, 4_000], false), &["[3, 4000, 4000]", binding[0]]);
    too_small(plan(100_000, SIZE, MODEL, SIZE, false), &[binding[0], "a smaller batch"]);
    // 9,000 pixels fit a buffer and are too many for a texture.
    too_small(plan(1, [9_000, 2], MODEL, [9_000, 2], true), &["the overlay texture", "max_texture_dimension_2d", "9000", "8192"]);
    // Beyond what can be counted, and nothing at all.
    message(plan(u32::MAX, [u32::MAX; 2], [u32::MAX; 2], SIZE, false), &["2^32"]);
    message(plan(1, SIZE, [u32::MAX; 2], SIZE, false), &["2^32"]);
    message(plan(1, SIZE, MODEL, [u32::MAX; 2], false), &["2^32"]);
    message(plan(0, SIZE, MODEL, SIZE, false), &["0 image(s)"]);
    message(plan(1, [0, 4], MODEL, SIZE, false), &["0x4"]);
    message(plan(1, SIZE, [7, 32], SIZE, false), &["7x32", "one patch of 8 pixels", "--size"]);
    message(plan(1, SIZE, MODEL, [0, 4], false), &["0"]);
    message(plan(2, SIZE, MODEL, SIZE, true), &["one image"]);
    message(plan(1, SIZE, MODEL, MODEL, true), &["its own size"]);
    message(Image::new(SIZE, &[0; 5]), &["1536", "24x16", "5"]);
    // Nothing of this harmed the device.
    let mut good = host.plan(&input(SourceKind::Rgba8, 1, SIZE, MODEL));
    host.run(&mut good, Source::Rgba8(&host.buffer(&picture(SIZE, 2)))).check();
}

#[test]
fn the_handlers_are_the_hosts() {
    let _turn = beside_others();
    let host = Host::new();
    let (heard, lost) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let counter = heard.clone();
    host.device.on_uncaptured_error(Arc::new(move |_: wgpu::Error| {
        counter.fetch_add(1, Ordering::Relaxed);
    }));
    let counter = lost.clone();
    host.device.set_device_lost_callback(move |_, _| {
        counter.fetch_add(1, Ordering::Relaxed);
    });

    let scope = host.device.push_error_scope(wgpu::ErrorFilter::Validation);
    let mut plan = host.plan(&input(SourceKind::Rgba8, 1, SIZE, MODEL));
    let not_storage = host.buffer_of(1536, wgpu::BufferUsages::COPY_SRC, &[]);
    plan.record(&mut host.encoder(), Source::Rgba8(&not_storage)).unwrap_err();
    host.explainer().plan(&input(SourceKind::Rgba8, 1, [40_000; 2], MODEL), SIZE, false).unwrap_err();
    assert!(pollster::block_on(scope.pop()).is_none(), "lancet's error reached the host's scope");
    assert_eq!(heard.load(Ordering::Relaxed), 0, "lancet's error reached the host's handler");

    host.buffer_of(1 << 60, wgpu::BufferUsages::STORAGE, &[]);
    assert!(heard.load(Ordering::Relaxed) > 0, "the host's handler is gone");
    // Destroying calls it once nothing runs any more.
    drop(plan);
    host.device.destroy();
    host.device.poll(wgpu::PollType::wait_indefinitely()).ok();
    assert_eq!(lost.load(Ordering::Relaxed), 1, "the host's device-lost callback is gone");
}

// ---------------------------------------------------------------- not a number

/// The bundled model, changed in memory: element `at` of a tensor (`None`: all) becomes `value`.
fn spoiled(tensor: &str, at: Option<usize>, value: half::f16) -> Weights {
    let mut bytes = std::fs::read(demo("open_clip_model.safetensors")).unwrap();
    let (header, metadata) = safetensors::SafeTensors::read_metadata(&bytes).unwrap();
    let (start, end) = metadata.info(tensor).unwrap_or_else(|| panic!("no {tensor}")).data_offsets;
    drop(metadata);
    let elements = &mut bytes[8 + header + start..8 + header + end];
    for (i, element) in elements.chunks_exact_mut(2).enumerate() {
        if at.is_none_or(|at| at == i) {
            element.copy_from_slice(&value.to_le_bytes());
        }
    }
    Weights::from_bytes(bytes).unwrap()
}

fn load(weights: &Weights) -> lancet::Result<Clip> {
    let host = shared();
    let engine = Engine::from_device(&host.device, &host.queue, Default::default())?;
    let config = lancet::clip::ConfigSource::File(demo("open_clip_config.json"));
    let tokenizer = Some(std::fs::read(demo("tokenizer.json")).unwrap());
    Clip::load(&engine, weights, LoadOptions { config, tokenizer, ..Default::default() })
}

/// Labels by the model itself, then an image.
fn explain(weights: &Weights) -> lancet::Result<()> {
    let clip = load(weights)?;
    let names = ["house".to_owned(), "tree".to_owned()];
    let labels = pollster::block_on(clip.labels(&names, &Templates::bare()))?;
    let mut explainer = Explainer::new(&clip, &labels, &Method::SURGERY)?;
    let pixels = picture(SIZE, 3);
    let found = pollster::block_on(explainer.explain(&Image::new(SIZE, &pixels)?, MODEL))?;
    assert!(found.labels.iter().all(|l| l.score.is_finite() && l.map.iter().all(|v| v.is_finite())), "NaN in a result");
    Ok(())
}

#[test]
fn weights_that_are_not_finite_are_named() {
    let _turn = beside_others();
    explain(&spoiled("visual.proj", Some(0), half::f16::from_f32(0.01))).unwrap();
    let tensors = [
        ("visual.conv1.weight", 11),
        ("visual.class_embedding", 191),
        ("visual.positional_embedding", 192 * 145 - 1),
        ("visual.transformer.resblocks.5.mlp.c_proj.bias", 3),
        ("visual.transformer.resblocks.2.attn.in_proj_weight", 70_000),
        ("visual.proj", 100),
        ("transformer.resblocks.2.ln_2.weight", 5),
        ("positional_embedding", 0),
        ("text_projection", 128 * 192 - 1),
    ];
    for (i, (name, at)) in tensors.into_iter().enumerate() {
        let value = [half::f16::NAN, half::f16::INFINITY, half::f16::NEG_INFINITY][i % 3];
        let e = message(explain(&spoiled(name, Some(at), value)), &[name, &format!("element {at}"), "damaged"]);
        assert!(matches!(e, Error::WeightNotFinite { .. }), "{e}");
    }
    // Only rows of tokens in use are read from this one: here all of them are bad.
    message(explain(&spoiled("token_embedding.weight", None, half::f16::NAN)), &["token_embedding.weight", "NaN"]);
}

#[test]
fn results_that_are_not_finite_are_named() {
    let _turn = beside_others();
    let host = shared();
    let pixels = picture(SIZE, 3);
    for value in [f32::NAN, f32::INFINITY] {
        // A label from a damaged cache of the host's.
        let mut rows = labels().embeddings().to_vec();
        rows[200] = value;
        let damaged = Labels::new(labels().names().to_vec(), rows, labels().empty().to_vec(), labels().width());
        let result = damaged.and_then(|damaged| {
            let mut explainer = Explainer::new(&host.clip, &damaged, &Method::SURGERY)?;
            pollster::block_on(explainer.explain(&Image::new(SIZE, &pixels)?, MODEL)).map(drop)
        });
        let e = message(result, &["similarity", "element"]);
        assert!(matches!(e, Error::ResultNotFinite { .. }), "{e}");
    }
}

#[test]
fn pixels_that_are_not_finite_stay_visible() {
    let _turn = beside_others();
    let host = shared();
    let gpu = host.clip.gpu();
    let explainer = host.explainer();
    let scores = |pixels: &[f32]| {
        let tensor = gpu.upload("pixels", &[1, 3, 24, 32], DType::F32, pixels).unwrap();
        let mut plan = explainer.plan_inspect(&tensor).unwrap();
        let mut encoder = host.encoder();
        plan.record(&mut encoder, Source::None).unwrap();
        host.submit(encoder);
        let named = |name: &str| plan.outputs().iter().find(|(n, _)| n == name).unwrap_or_else(|| panic!("no {name}")).1.clone();
        ["explain.scores", "explain.maps"].map(|name| host.floats(&named(name)))
    };
    let mut pixels = Random::new(5).floats(3 * 24 * 32, 1.0, DType::F32);
    scores(&pixels).iter().for_each(|v| check_finite("a result", v).unwrap());
    pixels[1000] = f32::NAN;
    for (name, values) in ["scores", "maps"].into_iter().zip(scores(&pixels)) {
        let e = message(check_finite(name, &values), &[name, "NaN"]);
        assert!(matches!(e, Error::ResultNotFinite { .. }), "{e}");
    }
}

#[test]
fn labels_of_another_model() {
    let _turn = beside_others();
    let other = Labels::new(vec!["a".into(), "b".into()], vec![0.1; 2 * 64], vec![0.1; 64], 64).unwrap();
    message(Explainer::new(&shared().clip, &other, &Method::SURGERY), &["labels", "width 192", "64"]);
    assert_eq!(labels().width(), 192);
}
