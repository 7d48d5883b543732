//! Which model file against which expected outputs.

/// One model file and where its expected outputs are.
#[derive(Clone, Copy, Debug)]
pub struct Case {
    pub name: &'static str,
    /// Weights file inside the golden folder.
    pub weights: &'static str,
    /// File of expected outputs, and the prefix of this case in it.
    pub expected: &'static str,
    pub prefix: &'static str,
    /// File with the inputs, and the name of the pixels there.
    pub inputs: &'static str,
    pub pixels: &'static str,
    /// Prefix of text and ensemble outputs.
    pub text: &'static str,
    /// Store weights and activations as f16 and compare with the wider limits.
    pub half: bool,
}

const BASE: Case =
    Case { name: "", weights: "", expected: "vit", prefix: "scene.", inputs: "vit", pixels: "scene.pixels", text: "", half: false };
const GELU: Case = Case { expected: "gelu", inputs: "gelu", pixels: "pixels", ..BASE };
const STORED: Case = Case { expected: "vit_stored_precision", ..BASE };
const RESNET: Case = Case { expected: "resnet", inputs: "resnet", ..BASE };

/// In every clone.
pub const SUBSET: &[Case] = &[
    Case {
        name: "transformers layout, exact GELU, heads of 48, f32",
        weights: "weights/hf_gelu_f32/model.safetensors",
        prefix: "f32.",
        text: "f32.",
        ..GELU
    },
    Case {
        name: "the same with f16 storage",
        weights: "weights/hf_gelu_f32/model.safetensors",
        prefix: "f32.",
        text: "f32.",
        half: true,
        ..GELU
    },
    Case {
        name: "OpenAI layout, QuickGELU, f16 file",
        weights: "weights/openai_vit_f16.safetensors",
        prefix: "openai_f16.scene.",
        text: "openai_f16.",
        ..STORED
    },
    Case {
        name: "ResNet, OpenAI layout, f16 file",
        weights: "weights/openai_rn_f16.safetensors",
        prefix: "openai_f16.scene.",
        text: "openai_f16.",
        ..RESNET
    },
    // Against the values of the f32 file: every stage, with the wider limits.
    Case { name: "the same with f16 storage", weights: "weights/openai_rn_f16.safetensors", prefix: "scene.", half: true, ..RESNET },
    Case {
        name: "ResNet, 96 px",
        weights: "weights/openai_rn_f16.safetensors",
        prefix: "size_96.",
        pixels: "size_96.pixels",
        half: true,
        ..RESNET
    },
];

/// With the full folder.
pub const FULL: &[Case] = &[
    Case { name: "OpenAI layout, QuickGELU, f32, scene", weights: "weights/openai_vit_f32.safetensors", ..BASE },
    Case { name: "the same with f16 storage", weights: "weights/openai_vit_f32.safetensors", half: true, ..BASE },
    Case { name: "the same, photo", weights: "weights/openai_vit_f32.safetensors", prefix: "photo.", pixels: "photo.pixels", ..BASE },
    Case { name: "64 px", weights: "weights/openai_vit_f32.safetensors", prefix: "size_64.", pixels: "size_64.pixels", ..BASE },
    Case { name: "160 px", weights: "weights/openai_vit_f32.safetensors", prefix: "size_160.", pixels: "size_160.pixels", ..BASE },
    Case { name: "224 px", weights: "weights/openai_vit_f32.safetensors", prefix: "size_224.", pixels: "size_224.pixels", ..BASE },
    Case {
        name: "OpenAI layout, bf16 file",
        weights: "weights/openai_vit_bf16.safetensors",
        prefix: "openai_bf16.scene.",
        text: "openai_bf16.",
        ..STORED
    },
    Case {
        name: "transformers layout, f16 file",
        weights: "weights/hf_vit_f16/model.safetensors",
        prefix: "hf_f16.scene.",
        text: "hf_f16.",
        ..STORED
    },
    Case {
        name: "transformers layout, exact GELU, bf16 file",
        weights: "weights/hf_gelu_bf16/model.safetensors",
        prefix: "bf16.",
        text: "bf16.",
        ..GELU
    },
    Case {
        name: "OpenCLIP layout, exact GELU, f16 file",
        weights: "weights/openclip_gelu_f16.safetensors",
        prefix: "f16.",
        text: "f16.",
        ..GELU
    },
    Case { name: "ResNet, f32", weights: "weights/openai_rn_f32.safetensors", ..RESNET },
    Case { name: "the same with f16 storage", weights: "weights/openai_rn_f32.safetensors", half: true, ..RESNET },
    Case {
        name: "ResNet, 96 px, f32",
        weights: "weights/openai_rn_f32.safetensors",
        prefix: "size_96.",
        pixels: "size_96.pixels",
        ..RESNET
    },
    Case { name: "ResNet, 160 px", weights: "weights/openai_rn_f32.safetensors", prefix: "size_160.", pixels: "size_160.pixels", ..RESNET },
];
