//! Pictures: panels, contact sheets, SVG plots.
