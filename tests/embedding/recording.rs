//! Recording into the host's encoder: nothing is submitted, and the results do not depend on how it is done.

use crate::host::{Host, assert_same, beside_others, input, labels, picture, shared};
use lancet::gpu::{Plan, Source};
use lancet::{Explainer, Image, ImageInput, Method, SourceKind, wgpu};

const SIZE: [u32; 2] = [64, 40];
const MODEL: [u32; 2] = [48, 48];

fn one(kind: SourceKind) -> ImageInput {
    input(kind, 1, SIZE, MODEL)
}

#[test]
fn recording_neither_submits_nor_runs() {
    let _turn = beside_others();
    // A queue of its own: submits are counted.
    let host = Host::new();
    let mut plan = host.plan(&one(SourceKind::Rgba8));
    let source = host.buffer(&picture(SIZE, 1));
    let poison = vec![0xff; plan.outputs().heatmaps.bytes() as usize];
    host.queue.write_buffer(plan.outputs().heatmaps.buffer(), 0, &poison);

    let before = host.submit_number();
    let mut encoder = host.encoder();
    plan.record(&mut encoder, Source::Rgba8(&source)).unwrap();
    let mut dropped = host.encoder();
    plan.record_range(&mut dropped, Source::Rgba8(&source), 0..7).unwrap();
    drop(dropped);
    assert_eq!(host.submit_number(), before + 1, "recording submitted something");

    assert!(host.floats(&plan.outputs().heatmaps).iter().all(|v| v.is_nan()), "the maps were written before the host's submit");
    host.submit(encoder);
    host.read(plan.outputs()).check();
}

#[test]
fn one_plan_several_times_in_one_submit() {
    let _turn = beside_others();
    let host = shared();
    let gpu = host.clip.gpu();
    let mut plan = host.plan(&one(SourceKind::Rgba8));
    let sources = [1, 2].map(|seed| host.buffer(&picture(SIZE, seed)));
    let alone = [0, 1].map(|i| host.run(&mut plan, Source::Rgba8(&sources[i])));
    assert!(alone[0].differs(&alone[1]), "two pictures, one result");

    // The next run overwrites the outputs: each is copied away behind its own.
    let order = [0, 0, 1, 0];
    let mut encoder = host.encoder();
    let pending = order.map(|i| {
        let outputs = plan.record(&mut encoder, Source::Rgba8(&sources[i])).unwrap();
        outputs.heatmaps.read(gpu, &mut encoder).unwrap()
    });
    host.submit(encoder);
    for (i, pending) in order.into_iter().zip(pending) {
        let got = pollster::block_on(pending.floats()).unwrap();
        assert!(got == alone[i].heatmaps(), "picture {i} gives another map between others");
    }
    assert_same("after all", &host.read(plan.outputs()), &alone[0]);
}

#[test]
fn two_plans_in_one_submit() {
    let _turn = beside_others();
    let host = shared();
    let mut surgery = host.plan(&one(SourceKind::Rgba8));
    let clip = Explainer::new(&host.clip, labels(), &Method::CLIP).unwrap();
    let mut clip = clip.plan(&one(SourceKind::Textures), SIZE, false).unwrap();
    let pixels = picture(SIZE, 3);
    let buffer = host.buffer(&pixels);
    let views = [host.texture(SIZE, wgpu::TextureFormat::Rgba8Unorm, &pixels)];
    let (want_surgery, want_clip) = (host.run(&mut surgery, Source::Rgba8(&buffer)), host.run(&mut clip, Source::Textures(&views)));
    assert!(want_surgery.differs(&want_clip), "two methods, one result");

    // One in the middle of the other: they share weights and pipelines, and no buffer that either writes.
    let (mut encoder, half) = (host.encoder(), surgery.steps().len() / 2);
    surgery.record_range(&mut encoder, Source::Rgba8(&buffer), 0..half).unwrap();
    clip.record(&mut encoder, Source::Textures(&views)).unwrap();
    let rest = half..surgery.steps().len();
    surgery.record_range(&mut encoder, Source::Rgba8(&buffer), rest).unwrap();
    host.submit(encoder);
    assert_same("surgery", &host.read(surgery.outputs()), &want_surgery);
    assert_same("clip", &host.read(clip.outputs()), &want_clip);
}

#[test]
fn a_plan_in_pieces_over_several_submits() {
    let _turn = beside_others();
    let host = shared();
    let source = host.buffer(&picture(SIZE, 4));
    let mut whole = host.plan(&one(SourceKind::Rgba8));
    let want = host.run(&mut whole, Source::Rgba8(&source));
    let mut plan = host.plan(&one(SourceKind::Rgba8));
    let steps = plan.steps().len();
    for budget in [1, 10, steps] {
        let mut start = 0;
        while start < steps {
            let end = (start + budget).min(steps);
            let mut encoder = host.encoder();
            plan.record_range(&mut encoder, Source::Rgba8(&source), start..end).unwrap();
            host.queue.submit([encoder.finish()]);
            start = end;
        }
        host.wait();
        assert_same(&format!("{budget} steps a frame"), &host.read(plan.outputs()), &want);
    }
}

#[test]
fn buffers_and_textures_give_the_same() {
    let _turn = beside_others();
    let host = shared();
    let pixels = picture(SIZE, 5);
    let explainer = host.explainer();
    let run = |kind, source: Source<'_>| {
        let mut plan = explainer.plan(&one(kind), SIZE, true).unwrap();
        let maps = host.run(&mut plan, source);
        let overlays: Vec<_> = plan.outputs().overlays.iter().map(|view| host.texels(view)).collect();
        (maps, overlays)
    };
    let (from_buffer, overlays) = run(SourceKind::Rgba8, Source::Rgba8(&host.buffer(&pixels)));
    let rgba = [host.texture(SIZE, wgpu::TextureFormat::Rgba8Unorm, &pixels)];
    let (from_texture, texture_overlays) = run(SourceKind::Textures, Source::Textures(&rgba));
    assert_same("a texture", &from_texture, &from_buffer);
    assert_eq!(overlays.len(), labels().names().len());
    assert!(overlays == texture_overlays, "overlays of a texture and of a buffer differ");

    // Swap chains and cameras are often BGRA.
    let swapped: Vec<u8> = pixels.chunks_exact(4).flat_map(|p| [p[2], p[1], p[0], p[3]]).collect();
    let bgra = [host.texture(SIZE, wgpu::TextureFormat::Bgra8Unorm, &swapped)];
    assert_same("a BGRA texture", &run(SourceKind::Textures, Source::Textures(&bgra)).0, &from_buffer);

    // The simple tier is the same plan, cut in two.
    let mut explainer = host.explainer();
    let found = pollster::block_on(explainer.explain(&Image::new(SIZE, &pixels).unwrap(), MODEL)).unwrap();
    let plane = (SIZE[0] * SIZE[1]) as usize;
    for (l, label) in found.labels.iter().enumerate() {
        assert!(label.map == from_buffer.heatmaps()[l * plane..(l + 1) * plane], "{}: explain and plan differ", label.label);
        assert!(label.overlay == overlays[l], "{}: the overlay's buffer and texture differ", label.label);
        let at = (label.peak[1] * SIZE[0] + label.peak[0]) as usize;
        assert!(label.map.iter().all(|&v| v <= label.map[at]), "{}: the peak {:?} is not the largest", label.label, label.peak);
    }
}

#[test]
fn a_batch_gives_what_its_images_give_alone() {
    let _turn = beside_others();
    let host = shared();
    let pictures = [6, 7, 8].map(|seed| picture(SIZE, seed));
    let mut single = host.plan(&one(SourceKind::Rgba8));
    let alone = pictures.each_ref().map(|p| host.run(&mut single, Source::Rgba8(&host.buffer(p))));

    let mut batch = host.plan(&input(SourceKind::Rgba8, 3, SIZE, MODEL));
    let all = host.run(&mut batch, Source::Rgba8(&host.buffer(&pictures.concat())));
    let mut batch = host.plan(&input(SourceKind::Textures, 3, SIZE, MODEL));
    let views = pictures.each_ref().map(|p| host.texture(SIZE, wgpu::TextureFormat::Rgba8Unorm, p));
    let from_textures = host.run(&mut batch, Source::Textures(&views));
    for (i, want) in alone.iter().enumerate() {
        assert_same(&format!("image {i} of a batch"), &all.image(i, 3), want);
        assert_same(&format!("texture {i} of a batch"), &from_textures.image(i, 3), want);
    }
}

#[test]
fn shapes_that_are_not_square() {
    let _turn = beside_others();
    let host = shared();
    let cases = [([40, 64], [96, 48]), ([64, 40], [32, 72]), ([1, 1], [8, 8]), ([97, 3], [50, 47]), ([5, 200], [8, 96])];
    let mut again: Vec<(Plan<_>, _, _)> = Vec::new();
    for (size, model) in cases {
        let mut plan = host.plan(&input(SourceKind::Rgba8, 1, size, model));
        let source = host.buffer(&picture(size, 9));
        let maps = host.run(&mut plan, Source::Rgba8(&source));
        let outputs = plan.outputs();
        // Pixels beyond the last whole patch are not seen.
        let grid = [model[0] / 8, model[1] / 8];
        assert_eq!(outputs.scores.grid, grid, "{model:?}");
        assert_eq!(outputs.scores.maps.shape().iter().product::<u32>(), 3 * grid[0] * grid[1], "{model:?}");
        assert_eq!(outputs.heatmaps.shape(), [3, size[1], size[0]], "{model:?}");
        if grid == [1, 1] {
            assert!(maps.heatmaps().iter().all(|&v| v == 0.0), "the map of one patch is constant: zeros");
        } else {
            maps.check();
        }
        again.push((plan, source, maps));
    }
    // Results do not depend on what was planned or run in between.
    for (plan, source, maps) in &mut again {
        let repeated = host.run(plan, Source::Rgba8(source));
        assert!(!repeated.differs(maps), "another result at the second run: {:?}", plan.outputs().scores.grid);
    }
}
