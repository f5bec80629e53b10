/*
 * stop_words.h - words that a text is read without.
 */
#ifndef CHATGLM_STOP_WORDS_H
#define CHATGLM_STOP_WORDS_H

#include "chatglm.h"

typedef struct ChatglmStopWords ChatglmStopWords;

/* Reads "en", "zh", an array of words, or false (NULL).  ERROR 22023 for what is none of these. */
extern ChatglmStopWords *chatglm_read_stop_words(const JsonbValue *value, Oid collation);

/* Is it one of them, in capitals or small letters?  UTF-8. */
extern bool chatglm_is_stop_word(const ChatglmStopWords *words, const char *word, Size length);

#endif /* CHATGLM_STOP_WORDS_H */
