/*
 * settings_define.h - defines the settings chatglm.*.
 */
#ifndef CHATGLM_SETTINGS_DEFINE_H
#define CHATGLM_SETTINGS_DEFINE_H

extern void chatglm_define_settings(void);

#endif /* CHATGLM_SETTINGS_DEFINE_H */
