"""AToM, stage 1 of MoDiTalker: speech and an initial landmark to frontal landmark motion."""
