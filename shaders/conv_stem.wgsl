// y = ReLU(conv3x3(pixels) + bias), stride 2, a border of one zero pixel: the first layer of CLIP's ResNets.
//
// pixels [B, 3, H, W] -> y [B ceil(H / 2) ceil(W / 2), C], channels last. weight [27, C]: channel of the picture, row, column.
// One thread per 8 channels of an output pixel: two thousandths of the model's work, so no tile.
//
// include: common/act_{f32,f16}.wgsl
// include: common/gelu.wgsl
// include: common/index.wgsl

struct Params {
    count: u32,          // B ceil(H / 2) ceil(W / 2) times threads per pixel
    width4: u32,         // C / 4
    image_width: u32,    // W
    image_height: u32,   // H
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> pixels: array<f32>;
@group(0) @binding(2) var<storage, read> weight: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read> bias: array<vec4<f32>>;
@group(0) @binding(4) var<storage, read_write> y: array<Act4>;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) lane: u32) {
    let index = linear_workgroup(group, groups) * 64u + lane;
    if (index >= params.count) {
        return;
    }
    let per_pixel = (params.width4 + 1u) / 2u;
    let pixel = index / per_pixel;
    let c0 = index % per_pixel * 2u;
    let c1 = min(c0 + 1u, params.width4 - 1u);
    let out_width = (params.image_width + 1u) / 2u;
    let out_height = (params.image_height + 1u) / 2u;
    let line = pixel / out_width;
    let image = line / out_height;
    // The window's corner; -1 wraps to what is beyond every side.
    let left = pixel % out_width * 2u - 1u;
    let top = line % out_height * 2u - 1u;
    var sum0 = bias[c0];
    var sum1 = bias[c1];
    for (var tap = 0u; tap < 27u; tap += 1u) {
        let across = left + tap % 3u;
        let down = top + tap / 3u % 3u;
        let inside = across < params.image_width && down < params.image_height;
        let at = ((image * 3u + tap / 9u) * params.image_height + down) * params.image_width + across;
        let value = vec4<f32>(select(0.0, pixels[select(0u, at, inside)], inside));
        sum0 = fma(value, weight[tap * params.width4 + c0], sum0);
        sum1 = fma(value, weight[tap * params.width4 + c1], sum1);
    }
    y[pixel * params.width4 + c0] = narrow_act(relu(sum0));
    y[pixel * params.width4 + c1] = narrow_act(relu(sum1));
}
