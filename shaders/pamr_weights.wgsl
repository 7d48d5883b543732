// How much a pixel is like its neighbours in colour: the weights of pixel-adaptive refinement.
//
// image [B, 3, H, W] -> weights [B, 8 D, H, W], summing to 1 over the 8 neighbours at each of D distances ("dilations"):
// softmax of the mean over channels of -|I0 - Ip| / (1e-8 + 0.1 sigma), sigma the unbiased deviation over the 9 D
// positions, the pixel itself counted once per distance. Borders replicated. One thread per pixel.
//
// include: common/index.wgsl
// include: common/neighbour.wgsl

struct Params {
    dilations: vec4<u32>,
    count: u32,          // D, at most 4
    width: u32,
    height: u32,
    total: u32,          // B H W
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> image: array<f32>;
@group(0) @binding(2) var<storage, read_write> weights: array<f32>;

// 1 / (1e-8 + 0.1 sigma) of one channel.
fn sharpness(at: vec2<u32>, plane: u32, here: f32) -> f32 {
    let size = vec2<u32>(params.width, params.height);
    let samples = f32(9u * params.count);
    // Differences from the pixel itself: nothing is lost where the picture is bright and smooth.
    var sum = 0.0;
    for (var p = 0u; p < 8u * params.count; p += 1u) {
        sum += image[plane + neighbour(at, p % 8u, params.dilations[p / 8u], size)] - here;
    }
    let mean = sum / samples;
    var squares = f32(params.count) * mean * mean;
    for (var p = 0u; p < 8u * params.count; p += 1u) {
        let d = image[plane + neighbour(at, p % 8u, params.dilations[p / 8u], size)] - here - mean;
        squares += d * d;
    }
    return 1.0 / (1e-8 + 0.1 * sqrt(squares / (samples - 1.0)));
}

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) lane: u32) {
    let index = linear_workgroup(group, groups) * 64u + lane;
    if (index >= params.total) {
        return;
    }
    let pixels = params.width * params.height;
    let pixel = index % pixels;
    let size = vec2<u32>(params.width, params.height);
    let at = vec2<u32>(pixel % size.x, pixel / size.x);
    // Planes of this picture's colours, and the place of its first weight.
    let red = (index / pixels) * 3u * pixels;
    let green = red + pixels;
    let blue = green + pixels;
    let out = (index / pixels) * 8u * params.count * pixels + pixel;
    let here = vec3<f32>(image[red + pixel], image[green + pixel], image[blue + pixel]);
    let sharp = vec3<f32>(sharpness(at, red, here.x), sharpness(at, green, here.y), sharpness(at, blue, here.z));
    var largest = -3.0e38;
    for (var p = 0u; p < 8u * params.count; p += 1u) {
        let n = neighbour(at, p % 8u, params.dilations[p / 8u], size);
        let there = vec3<f32>(image[red + n], image[green + n], image[blue + n]);
        let energy = -dot(abs(here - there), sharp) / 3.0;
        largest = max(largest, energy);
        weights[out + p * pixels] = energy;
    }
    var sum = 0.0;
    for (var p = 0u; p < 8u * params.count; p += 1u) {
        sum += exp(weights[out + p * pixels] - largest);
    }
    for (var p = 0u; p < 8u * params.count; p += 1u) {
        weights[out + p * pixels] = exp(weights[out + p * pixels] - largest) / sum;
    }
}
