//! Many images in flight: the same results as one by one, in order, in flat memory.

use crate::host::{Host, alone, beside_others, picture, shared};
use lancet::{Explainer, Explanation, Image, StreamOptions};
use std::time::{Duration, Instant};

const MODEL: [u32; 2] = [32, 24];

/// Of several sizes, one of which needs a piece for each label.
const SIZES: [[u32; 2]; 7] = [[24, 16], [24, 16], [16, 24], [1000, 900], [24, 16], [5, 3], [16, 24]];

fn pictures() -> Vec<([u32; 2], Vec<u8>)> {
    SIZES.iter().enumerate().map(|(i, &size)| (size, picture(size, i as u64))).collect()
}

fn one_by_one(explainer: &mut Explainer, pictures: &[([u32; 2], Vec<u8>)]) -> Vec<Explanation> {
    let mut explain = |size, rgba| pollster::block_on(explainer.explain(&Image::new(size, rgba).unwrap(), MODEL)).unwrap();
    pictures.iter().map(|(size, rgba)| explain(*size, rgba)).collect()
}

#[test]
fn a_stream_gives_what_single_images_give() {
    let _turn = beside_others();
    let mut explainer = shared().explainer();
    let pictures = pictures();
    let want = one_by_one(&mut explainer, &pictures);
    let images: Vec<Image<'_>> = pictures.iter().map(|(size, rgba)| Image::new(*size, rgba).unwrap()).collect();
    for (batch, in_flight) in [(1, 1), (1, 4), (2, 3), (3, 1), (16, 2)] {
        let options = StreamOptions { batch: Some(batch), in_flight, maps: true, ..StreamOptions::new(MODEL) };
        let got = pollster::block_on(explainer.explain_batch(&images, options)).unwrap();
        assert_eq!(got.len(), want.len());
        for (i, (got, want)) in got.iter().zip(&want).enumerate() {
            assert!(got == want, "image {i} of {:?} differs in batches of {batch}, {in_flight} in flight", SIZES[i]);
        }
    }
}

#[test]
fn only_what_is_asked_for_is_read() {
    let _turn = beside_others();
    let mut explainer = shared().explainer();
    let pictures = pictures();
    let want = one_by_one(&mut explainer, &pictures);
    for (maps, overlays) in [(false, true), (true, false), (false, false)] {
        let mut stream = explainer.stream(StreamOptions { maps, overlays, ..StreamOptions::new(MODEL) }).unwrap();
        for (number, (size, rgba)) in pictures.iter().enumerate() {
            assert_eq!(stream.push(&Image::new(*size, rgba).unwrap()).unwrap(), number as u64);
            let mut labels = Vec::new();
            while let Some(piece) = pollster::block_on(stream.next()).unwrap() {
                assert_eq!((piece.image, piece.first, piece.size), (number as u64, labels.len(), *size));
                labels.extend(piece.labels);
                assert_eq!(piece.last, labels.len() == explainer.labels().names().len());
            }
            let mut want = want[number].labels.clone();
            for label in &mut want {
                label.map.truncate(if maps { label.map.len() } else { 0 });
                label.overlay.truncate(if overlays { label.overlay.len() } else { 0 });
            }
            assert!(labels == want, "image {number}, maps {maps}, overlays {overlays}");
        }
    }
}

#[test]
fn a_full_stream_refuses_and_goes_on() {
    let _turn = beside_others();
    let explainer = shared().explainer();
    let mut stream = explainer.stream(StreamOptions { batch: Some(2), in_flight: 1, ..StreamOptions::new(MODEL) }).unwrap();
    let rgba = picture([24, 16], 1);
    let image = Image::new([24, 16], &rgba).unwrap();
    let mut pushed = 0;
    while stream.has_room() {
        stream.push(&image).unwrap();
        pushed += 1;
    }
    assert!(pushed >= 4, "two batches fit");
    assert!(stream.push(&image).unwrap_err().to_string().contains("take results first"));
    let mut complete = 0;
    while let Some(piece) = pollster::block_on(stream.next()).unwrap() {
        complete += u32::from(piece.last);
    }
    assert_eq!(complete, pushed);
    assert!(explainer.stream(StreamOptions { batch: Some(0), ..StreamOptions::new(MODEL) }).is_err());
    assert!(explainer.stream(StreamOptions::new([3, 3])).is_err());
}

#[test]
fn a_stream_allocates_nothing_once_it_is_warm() {
    let _turn = alone();
    let host = Host::new();
    let explainer = host.explainer();
    let mut stream = explainer.stream(StreamOptions { batch: Some(2), maps: true, ..StreamOptions::new(MODEL) }).unwrap();
    let pictures = [picture([24, 16], 1), picture([40, 30], 2), picture([300, 200], 3)];
    let sizes = [[24, 16], [40, 30], [300, 200]];
    let start = Instant::now();
    let mut run = |images: usize| {
        for i in 0..images {
            stream.push(&Image::new(sizes[i % 3], &pictures[i % 3]).unwrap()).unwrap();
            while !stream.has_room() {
                pollster::block_on(stream.next()).unwrap();
            }
        }
        while pollster::block_on(stream.next()).unwrap().is_some() {}
        stream.device_time().busy
    };
    let warm = run(60);
    let on_device = || host.device.generate_allocator_report().map(|r| (r.total_allocated_bytes, r.allocations.len()));
    let created = host.clip.gpu().created();
    let before = on_device();
    let busy = run(120);
    assert_eq!(on_device(), before, "the device's allocations (bytes, number) after 60 and after 180 images");
    assert_eq!(host.clip.gpu().created(), created, "made after 60 and after 180 images");
    assert!(warm > Duration::ZERO && busy > warm && busy <= start.elapsed(), "busy {warm:?}, then {busy:?} of {:?}", start.elapsed());
}
