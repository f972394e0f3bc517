// evaluator/caption.h - words on a frame: a font of five by seven dots, drawn as blocks.
//
// Letters are drawn as capitals; what the font does not have is drawn as a hollow box.
#ifndef EVALUATOR_CAPTION_H
#define EVALUATOR_CAPTION_H

#include <stdint.h>

#define EVALUATOR_CAPTION_ADVANCE 6  // dots from one letter to the next
#define EVALUATOR_CAPTION_LINE 9     // dots from one line to the next

// A picture u8 [height, width, 3], top row first.
struct evaluator_canvas {
    uint8_t *rgb;
    uint32_t height, width;
};
// One line from (x, y), the top left corner, in blocks of `scale` pixels; what lies outside the
// picture is left out.
void evaluator_caption_line(const struct evaluator_canvas *canvas, uint32_t x, uint32_t y,
                            uint32_t scale, const uint8_t color[3], const char *text);
// Several lines of at most `columns` letters, broken at blanks where possible; lines after the last
// are left out. Returns how many were drawn.
uint32_t evaluator_caption_paragraph(const struct evaluator_canvas *canvas, uint32_t x, uint32_t y,
                                     uint32_t scale, const uint8_t color[3], uint32_t columns,
                                     uint32_t lines_max, const char *text);

#endif
