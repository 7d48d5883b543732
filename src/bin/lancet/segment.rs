//! `lancet segment`: a class for every pixel.

use crate::args::{ModelArgs, Size, embed};
use anyhow::{Context, Result, bail};
