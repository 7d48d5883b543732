// Logits of some names to a class per pixel: softmax over all names, best name within a class, best class, threshold.
//
// logits [B, Q, H, W] of names first .. first + Q; rules [1 + L]: the threshold (bits of an f32), below which a pixel becomes
// class 0, then the class of each name, top bit set if that class may not win.
// state [B, P, 4]: largest logit so far, sum of exponentials relative to it, best logit that may win, its class. Run it
// chunk of names by chunk; after the last, classes [B, P] and confidence [B, P] hold the result. Softmax keeps order, so the
// best class is the class of the best name and its probability exp(best - largest) / sum: no [classes, P] tensor.
// With `normalised`, confidence is divided by the sum of the classes' probabilities, each that of its best name. Names of a class
// stand beside each other; state is [P, 8]: behind the four above the class of the last name, its best logit, and the sum
// over classes before it, relative to the largest logit.
// Of each plane only pixels skip .. skip + P count. One thread per pixel.
//
// include: common/index.wgsl

struct Params {
    total: u32,          // B P
    pixels: u32,         // P
    plane: u32,          // H W
    skip: u32,
    count: u32,          // Q
    first: u32,
    scale: f32,          // of the logits
    normalised: u32,
}

const REMOVED: u32 = 0x80000000u;

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> logits: array<f32>;
@group(0) @binding(2) var<storage, read> rules: array<u32>;
@group(0) @binding(3) var<storage, read_write> state: array<vec4<f32>>;
@group(0) @binding(4) var<storage, read_write> classes: array<u32>;
@group(0) @binding(5) var<storage, read_write> confidence: array<f32>;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) lane: u32) {
    let index = linear_workgroup(group, groups) * 64u + lane;
    if (index >= params.total) {
        return;
    }
    let first = (index / params.pixels) * params.count * params.plane + params.skip + index % params.pixels;
    let at = index * select(1u, 2u, params.normalised != 0u);
    // Class of the last name, its best logit, the sum of those before. Removed classes have no probability.
    var open = vec4<f32>(-1.0, -3.0e38, 0.0, 0.0);
    // No name may win: class 0 with probability 0.
    var s = vec4<f32>(-3.0e38, 0.0, -3.0e38, 0.0);
    if (params.first > 0u) {
        s = state[at];
        if (params.normalised != 0u) {
            open = state[at + 1u];
        }
    }
    for (var q = 0u; q < params.count; q += 1u) {
        let logit = params.scale * logits[first + q * params.plane];
        if (logit > s.x) {
            s.y = s.y * exp(s.x - logit) + 1.0;
            open.z *= exp(s.x - logit);
            s.x = logit;
        } else {
            // NaN comes here and stays in the sum.
            s.y += exp(logit - s.x);
        }
        let name = rules[1u + params.first + q];
        if ((name & REMOVED) == 0u && logit > s.z) {
            s.z = logit;
            s.w = f32(name);
        }
        if (params.normalised != 0u && (name & REMOVED) == 0u) {
            if (f32(name) != open.x) {
                open = vec4<f32>(f32(name), logit, open.z + exp(open.y - s.x), 0.0);
            } else {
                open.y = max(open.y, logit);
            }
        }
    }
    state[at] = s;
    let likely = exp(s.z - s.x) / s.y;
    classes[index] = select(u32(s.w), 0u, likely < bitcast<f32>(rules[0]));
    confidence[index] = likely;
    if (params.normalised != 0u) {
        state[at + 1u] = open;
        let all = open.z + exp(open.y - s.x);
        // Not `all > 0.0`: NaN must stay NaN.
        confidence[index] = select(exp(s.z - s.x) / all, 0.0, all == 0.0);
    }
}
