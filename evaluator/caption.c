// evaluator/caption.c - the font, and blocks for its dots.
#include "evaluator/caption.h"

#include <stddef.h>
#include <string.h>

enum { ROWS = 7, COLUMNS = 5 };

// A letter's dots, seven rows of five from the top, as one reads them.
struct glyph {
    char letter;
    const char *dots;
};
static const struct glyph glyphs[] = {
    {'A', ".###. #...# #...# ##### #...# #...# #...#"},
    {'B', "####. #...# #...# ####. #...# #...# ####."},
    {'C', ".#### #.... #.... #.... #.... #.... .####"},
    {'D', "####. #...# #...# #...# #...# #...# ####."},
    {'E', "##### #.... #.... ####. #.... #.... #####"},
    {'F', "##### #.... #.... ####. #.... #.... #...."},
    {'G', ".#### #.... #.... #..## #...# #...# .####"},
    {'H', "#...# #...# #...# ##### #...# #...# #...#"},
    {'I', ".###. ..#.. ..#.. ..#.. ..#.. ..#.. .###."},
    {'J', "..### ...#. ...#. ...#. ...#. #..#. .##.."},
    {'K', "#...# #..#. #.#.. ##... #.#.. #..#. #...#"},
    {'L', "#.... #.... #.... #.... #.... #.... #####"},
    {'M', "#...# ##.## #.#.# #.#.# #...# #...# #...#"},
    {'N', "#...# ##..# #.#.# #.#.# #..## #...# #...#"},
    {'O', ".###. #...# #...# #...# #...# #...# .###."},
    {'P', "####. #...# #...# ####. #.... #.... #...."},
    {'Q', ".###. #...# #...# #...# #.#.# #..#. .##.#"},
    {'R', "####. #...# #...# ####. #.#.. #..#. #...#"},
    {'S', ".#### #.... #.... .###. ....# ....# ####."},
    {'T', "##### ..#.. ..#.. ..#.. ..#.. ..#.. ..#.."},
    {'U', "#...# #...# #...# #...# #...# #...# .###."},
    {'V', "#...# #...# #...# #...# .#.#. .#.#. ..#.."},
    {'W', "#...# #...# #...# #.#.# #.#.# ##.## #...#"},
    {'X', "#...# .#.#. .#.#. ..#.. .#.#. .#.#. #...#"},
    {'Y', "#...# .#.#. .#.#. ..#.. ..#.. ..#.. ..#.."},
    {'Z', "##### ....# ...#. ..#.. .#... #.... #####"},
    {'0', ".###. #..## #.#.# #.#.# #.#.# ##..# .###."},
    {'1', "..#.. .##.. ..#.. ..#.. ..#.. ..#.. .###."},
    {'2', ".###. #...# ....# ..##. .#... #.... #####"},
    {'3', "####. ....# ....# .###. ....# ....# ####."},
    {'4', "#..#. #..#. #..#. ##### ...#. ...#. ...#."},
    {'5', "##### #.... ####. ....# ....# ....# ####."},
    {'6', ".###. #.... #.... ####. #...# #...# .###."},
    {'7', "##### ....# ...#. ...#. ..#.. ..#.. ..#.."},
    {'8', ".###. #...# #...# .###. #...# #...# .###."},
    {'9', ".###. #...# #...# .#### ....# ....# .###."},
    {'.', "..... ..... ..... ..... ..... .##.. .##.."},
    {',', "..... ..... ..... ..... .##.. ..#.. .#..."},
    {':', "..... .##.. .##.. ..... .##.. .##.. ....."},
    {'-', "..... ..... ..... .###. ..... ..... ....."},
    {'_', "..... ..... ..... ..... ..... ..... #####"},
    {'/', "....# ...#. ...#. ..#.. .#... .#... #...."},
    {'\'', "..#.. ..#.. .#... ..... ..... ..... ....."},
    {'(', "...#. ..#.. .#... .#... .#... ..#.. ...#."},
    {')', ".#... ..#.. ...#. ...#. ...#. ..#.. .#..."},
    {'!', "..#.. ..#.. ..#.. ..#.. ..#.. ..... ..#.."},
    {'?', ".###. #...# ....# ..##. ..#.. ..... ..#.."},
    {'%', "##..# ##..# ...#. ..#.. .#... #..## #..##"},
    {' ', "..... ..... ..... ..... ..... ..... ....."},
};
static const char unknown[] = "##### #...# #...# #...# #...# #...# #####";

static const char *dots_of(char letter) {
    if (letter >= 'a' && letter <= 'z') letter = (char)(letter - 'a' + 'A');
    for (size_t i = 0; i < sizeof glyphs / sizeof *glyphs; i++)
        if (glyphs[i].letter == letter) return glyphs[i].dots;
    return unknown;
}

static void block(const struct evaluator_canvas *canvas, uint32_t x, uint32_t y, uint32_t scale,
                  const uint8_t color[3]) {
    for (uint32_t row = y; row < y + scale && row < canvas->height; row++)
        for (uint32_t column = x; column < x + scale && column < canvas->width; column++)
            memcpy(canvas->rgb + ((size_t)row * canvas->width + column) * 3, color, 3);
}

static void line(const struct evaluator_canvas *canvas, uint32_t x, uint32_t y, uint32_t scale,
                 const uint8_t color[3], const char *text, size_t length) {
    for (size_t i = 0; i < length && x < canvas->width; i++) {
        const char *dots = dots_of(text[i]);
        for (uint32_t row = 0; row < ROWS; row++)
            for (uint32_t column = 0; column < COLUMNS; column++)
                if (dots[row * (COLUMNS + 1) + column] == '#')
                    block(canvas, x + column * scale, y + row * scale, scale, color);
        x += EVALUATOR_CAPTION_ADVANCE * scale;
    }
}

void evaluator_caption_line(const struct evaluator_canvas *canvas, uint32_t x, uint32_t y,
                            uint32_t scale, const uint8_t color[3], const char *text) {
    line(canvas, x, y, scale, color, text, strlen(text));
}

// Letters of the next line: up to the last blank that fits, or as many as fit.
static size_t line_length(const char *text, uint32_t columns) {
    const size_t left = strlen(text);
    if (left <= columns) return left;
    for (size_t i = columns; i > 0; i--)
        if (text[i] == ' ') return i;
    return columns;
}

uint32_t evaluator_caption_paragraph(const struct evaluator_canvas *canvas, uint32_t x, uint32_t y,
                                     uint32_t scale, const uint8_t color[3], uint32_t columns,
                                     uint32_t lines_max, const char *text) {
    uint32_t drawn = 0;
    while (*text != '\0' && drawn < lines_max && columns > 0) {
        const size_t length = line_length(text, columns);
        line(canvas, x, y + drawn * EVALUATOR_CAPTION_LINE * scale, scale, color, text, length);
        text += length;
        while (*text == ' ') text++;
        drawn++;
    }
    return drawn;
}
