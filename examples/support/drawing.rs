//! How the drawings look: the ink of their texts and lines.

use plotters::prelude::*;

/// Of axes, and of what is said beside.
pub const GREY: RGBColor = RGBColor(110, 110, 110);

/// Of the mesh.
pub const PALE: RGBColor = RGBColor(225, 225, 225);

/// Text of a size in pixels.
pub fn text(size: i32) -> TextStyle<'static> {
    ("sans-serif", size).into_text_style(&(0, 0)).color(&RGBColor(40, 40, 40))
}
