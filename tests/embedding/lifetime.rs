//! Many runs, several engines, lost and outlived devices, memory.

use crate::host::{Host, alone, assert_same, beside_others, borrow, input, labels, open_device, picture, shared, weights};
use lancet::explain::ExplainOutputs;
use lancet::gpu::{Plan, Source};
use lancet::{Error, Explainer, Image, ImageInput, Method, SourceKind, Templates, wgpu};

const SIZE: [u32; 2] = [24, 16];
const MODEL: [u32; 2] = [32, 24];

fn tiny() -> ImageInput {
    input(SourceKind::Rgba8, 1, SIZE, MODEL)
}

/// Growth of the process over 900 runs that is no leak: 2 KiB a run would be 1.8 MiB.
const GROWTH_ALLOWED_KIB: u64 = 1536;

/// Resident memory, KiB; `None` where the system has no /proc.
fn resident_kib() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    status.lines().find_map(|l| l.strip_prefix("VmRSS:"))?.split_whitespace().next()?.parse().ok()
}

#[test]
fn a_thousand_runs_leave_nothing_behind() {
    let _turn = alone();
    let host = Host::new();
    let gpu = host.clip.gpu().clone();
    let mut explainer = host.explainer();
    let pixels = picture([24, 16], 1);
    let image = Image::new([24, 16], &pixels).unwrap();
    let mut run = || pollster::block_on(explainer.explain(&image, [16, 16])).unwrap();
    let on_device = || host.device.generate_allocator_report().map(|r| (r.total_allocated_bytes, r.allocations.len()));

    let first = run();
    let created = gpu.created();
    assert!(created.pipelines > 10 && created.bind_groups > 50 && created.buffers > 10, "{created:?}");
    assert_eq!(created.pipelines, gpu.pipeline_count() as u64, "a pipeline was compiled twice");
    let mut warm = (None, None);
    for i in 1..1000 {
        let next = run();
        for (a, b) in first.labels.iter().zip(&next.labels) {
            assert!(a.map == b.map && a.overlay == b.overlay && a.score == b.score, "run {i}: {} differs", a.label);
        }
        if i == 100 {
            warm = (resident_kib(), on_device());
        }
    }
    assert_eq!(gpu.created(), created, "made on the device after the first run and after 1,000");
    assert_eq!(on_device(), warm.1, "the device's allocations (bytes, number) after 100 and after 1,000 runs");
    match (warm.0, resident_kib()) {
        (Some(warm), Some(end)) => {
            println!("resident memory: {warm} KiB after 100 runs, {end} KiB after 1,000");
            assert!(end <= warm + GROWTH_ALLOWED_KIB, "the process grew from {warm} to {end} KiB in 900 runs");
        }
        _ => println!("NOT CHECKED: growth of the process; this system has no /proc/self/status"),
    }
}

#[test]
fn engines_in_two_threads() {
    let _turn = beside_others();
    let work = |seed: u64| {
        let host = Host::new();
        let mut plan = host.plan(&tiny());
        (0..5).map(|i| host.run(&mut plan, Source::Rgba8(&host.buffer(&picture(SIZE, seed + i))))).collect::<Vec<_>>()
    };
    labels();
    let start = std::sync::Barrier::new(2);
    let (a, b) = std::thread::scope(|threads| {
        let one = || {
            start.wait();
            work(20)
        };
        let (a, b) = (threads.spawn(one), threads.spawn(one));
        (a.join().unwrap(), b.join().unwrap())
    });
    // And one engine in two threads: plans are independent of each other.
    let host = shared();
    let c = std::thread::scope(|threads| {
        let one = |from: u64, count: u64| {
            let mut plan = host.plan(&tiny());
            (from..from + count).map(|i| host.run(&mut plan, Source::Rgba8(&host.buffer(&picture(SIZE, i))))).collect::<Vec<_>>()
        };
        let (head, tail) = (threads.spawn(move || one(20, 2)), threads.spawn(move || one(22, 3)));
        [head.join().unwrap(), tail.join().unwrap()].concat()
    });
    for (i, want) in work(20).iter().enumerate() {
        assert_same(&format!("picture {i}, first engine"), &a[i], want);
        assert_same(&format!("picture {i}, second engine"), &b[i], want);
        assert_same(&format!("picture {i}, one engine for two threads"), &c[i], want);
    }
}

#[test]
fn the_device_outlives_lancet() {
    let _turn = beside_others();
    let host = Host::new();
    let mut plan = host.plan(&tiny());
    let source = host.buffer(&picture(SIZE, 1));
    let want = host.run(&mut plan, Source::Rgba8(&source));
    let heatmaps = plan.outputs().heatmaps.clone();
    let mut encoder = host.encoder();
    encoder.clear_buffer(heatmaps.buffer(), 0, None);
    plan.record(&mut encoder, Source::Rgba8(&source)).unwrap();
    let Host { device, queue, clip } = host;
    // Everything of lancet's goes between recording and submit: wgpu keeps what a command needs.
    let gpu = std::sync::Arc::downgrade(clip.gpu());
    drop((plan, clip));
    assert_eq!(gpu.strong_count(), 0, "something keeps the engine alive");
    queue.submit([encoder.finish()]);

    let clip = borrow(&device, &queue, &weights());
    let host = Host { device, queue, clip };
    assert!(host.floats(&heatmaps) == want.heatmaps(), "work recorded before the drop was lost");
    let mut plan = host.plan(&tiny());
    assert_same("a second engine on the device", &host.run(&mut plan, Source::Rgba8(&source)), &want);
}

// ---------------------------------------------------------------- lost devices

#[track_caller]
fn lost<T>(what: &str, result: lancet::Result<T>) {
    match result.err() {
        Some(Error::DeviceLost { .. }) => {}
        Some(e) => panic!("{what} on a lost device: expected DeviceLost, got {e:?}"),
        None => panic!("{what} on a lost device: expected an error"),
    }
}

#[test]
fn a_lost_device_is_an_error_and_weights_survive_it() {
    let _turn = beside_others();
    labels();
    let weights = weights();
    let (device, queue) = open_device();
    let host = Host { clip: borrow(&device, &queue, &weights), device, queue };
    let mut explainer = host.explainer();
    let pixels = picture(SIZE, 1);
    let image = Image::new(SIZE, &pixels).unwrap();
    let want = pollster::block_on(explainer.explain(&image, MODEL)).unwrap();
    let mut plan = host.plan(&tiny());
    let source = host.buffer(&pixels);
    let mut encoder = host.encoder();
    plan.record(&mut encoder, Source::Rgba8(&source)).unwrap();
    let pending = plan.outputs().heatmaps.read(host.clip.gpu(), &mut encoder).unwrap();

    host.device.destroy();
    // A frame that was recorded already: the host submits it, the read says what happened.
    host.queue.submit([encoder.finish()]);
    host.device.poll(wgpu::PollType::wait_indefinitely()).ok();
    lost("a read", pollster::block_on(pending.floats()));
    // The next frame: recording may pass (the commands are the host's), reading may not.
    let mut encoder = host.encoder();
    let next = plan.record(&mut encoder, Source::Rgba8(&source)).cloned();
    let next = next.and_then(|outputs| outputs.heatmaps.read(host.clip.gpu(), &mut encoder));
    host.queue.submit([encoder.finish()]);
    host.device.poll(wgpu::PollType::wait_indefinitely()).ok();
    lost("the next read", next.and_then(|pending| pollster::block_on(pending.floats())));
    lost("explaining again", pollster::block_on(explainer.explain(&image, MODEL)).map(drop));
    lost("another size", pollster::block_on(explainer.explain(&image, [16, 16])).map(drop));
    lost("planning", Explainer::new(&host.clip, labels(), &Method::SURGERY).and_then(|e| e.plan(&tiny(), SIZE, true)).map(drop));
    lost("labels", pollster::block_on(host.clip.labels(&["a tree".to_owned()], &Templates::bare())).map(drop));
    let fresh = borrow(&host.device, &host.queue, &weights);
    lost("a new engine", pollster::block_on(fresh.encode_text(&["a tree".to_owned()])).map(drop));
    drop((explainer, plan, fresh, host));

    // Recovery: a new device, the same weights.
    let (device, queue) = open_device();
    let clip = borrow(&device, &queue, &weights);
    let mut explainer = Explainer::new(&clip, labels(), &Method::SURGERY).unwrap();
    let found = pollster::block_on(explainer.explain(&image, MODEL)).unwrap();
    for (a, b) in want.labels.iter().zip(&found.labels) {
        assert!(a.map == b.map && a.score == b.score, "{} differs on the new device", a.label);
    }
}

#[test]
fn a_read_that_is_never_submitted_is_an_error() {
    let _turn = beside_others();
    let host = shared();
    let plan = host.plan(&tiny());
    let mut encoder = host.encoder();
    let pending = plan.outputs().heatmaps.read(host.clip.gpu(), &mut encoder).unwrap();
    drop(encoder);
    let e = pollster::block_on(pending.floats()).unwrap_err();
    assert!(e.to_string().contains("never submitted"), "{e}");
}

// ---------------------------------------------------------------- memory

#[test]
fn slots_are_shared() {
    let _turn = beside_others();
    let host = shared();
    let native = host.explainer().plan(&input(SourceKind::Rgba8, 1, [96, 96], [96, 96]), [96, 96], false).unwrap();
    let memory = native.memory();
    println!("{memory:?}");
    // Whatever the number of blocks, few values live at a time: twelve times [145, 192] hold all of them.
    assert!(memory.activations <= 12 * 4 * 145 * 192, "{memory:?}");
    assert!(memory.slots < native.steps().len() / 6, "{memory:?} for {} steps", native.steps().len());
    assert!(memory.activations_unshared >= 6 * memory.activations, "slots are hardly shared: {memory:?}");

    // Kept values do not share: a plan that keeps every stage needs more.
    let pixels = host.clip.gpu().upload("pixels", &[1, 3, 96, 96], lancet::shape::DType::F32, &vec![0.5f32; 3 * 96 * 96]).unwrap();
    let inspecting = host.explainer().plan_inspect(&pixels).unwrap().memory();
    assert!(inspecting.activations > 2 * memory.activations, "{inspecting:?} beside {memory:?}");

    // Memory of a batch is a multiple, and weights are no part of it.
    let plan = |images| -> Plan<ExplainOutputs> { host.plan(&input(SourceKind::Rgba8, images, [96, 96], [96, 96])) };
    let (one, four) = (plan(1).memory(), plan(4).memory());
    assert_eq!(one, memory);
    assert_eq!(four.slots, one.slots);
    assert!(four.activations <= 4 * one.activations && four.activations > 3 * one.activations, "{one:?} and {four:?}");
}

#[test]
fn scores_of_a_batch_are_those_of_its_images() {
    let _turn = beside_others();
    let host = Host::new();
    let mut explainer = host.explainer();
    let pictures = [picture(SIZE, 5), picture(SIZE, 6)];
    let images = pictures.each_ref().map(|p| Image::new(SIZE, p).unwrap());
    let both = pollster::block_on(explainer.score(&images, MODEL)).unwrap();
    assert_eq!((both.images, both.labels), (2, explainer.labels().names().len()));
    for (i, image) in images.iter().enumerate() {
        let one = pollster::block_on(explainer.score(std::slice::from_ref(image), MODEL)).unwrap();
        let found = pollster::block_on(explainer.explain(image, MODEL)).unwrap();
        assert_eq!(one.grid, found.grid);
        for (l, label) in found.labels.iter().enumerate() {
            assert_eq!(one.map(0, l), both.map(i, l));
            assert_eq!(one.class_cosines[l], label.score);
            assert_eq!(both.class_cosines[i * both.labels + l], label.score);
            assert_eq!(one.map(0, l).iter().copied().fold(f32::MIN, f32::max), label.peak_score);
        }
    }
    let other = picture([16, 24], 7);
    let mixed = [images[0], Image::new([16, 24], &other).unwrap()];
    assert!(pollster::block_on(explainer.score(&mixed, MODEL)).unwrap_err().to_string().contains("24x16 as the first of the batch"));
    assert!(pollster::block_on(explainer.score(&[], MODEL)).is_err());
}
