"""Names of products, cities and people, real and invented, in English and Chinese.

Most names are invented (random syllables, random characters of GB2312 level 1), for copying a name that was
never seen is what extraction and tool calls are about. One name in eight (by CRC-32) is held out: training
never draws it, evaluation draws nothing else.
"""
import zlib

import phrases

CITIES_EN = """Beijing Shanghai Shenzhen Hangzhou Paris London Berlin Madrid Rome Lyon Oslo Vienna Prague Lisbon
Dublin Athens Tokyo Osaka Seoul Delhi Mumbai Cairo Nairobi Lagos Sydney Melbourne Toronto Montreal Vancouver Chicago
Boston Seattle Denver Austin Dallas Houston Miami Atlanta Phoenix Lima Quito Bogota Santiago Havana Munich Hamburg
Cologne Zurich Geneva Milan Naples Turin Porto Seville Valencia Warsaw Krakow Budapest Helsinki Stockholm Copenhagen
Bangkok Hanoi Manila Jakarta Singapore Istanbul Ankara Dubai Doha Casablanca Tunis Accra""".split() + [
    "New York", "San Francisco", "Los Angeles", "Hong Kong", "Cape Town", "Buenos Aires", "Mexico City", "Tel Aviv",
    "Las Vegas", "San Diego", "New Delhi", "Kuala Lumpur", "Salt Lake City", "Santa Fe", "Abu Dhabi"]

CITIES_ZH = """北京 上海 广州 深圳 杭州 南京 苏州 成都 重庆 武汉 西安 天津 青岛 大连 厦门 长沙 郑州 济南 昆明 合肥 福州
南昌 沈阳 哈尔滨 长春 石家庄 太原 贵阳 南宁 海口 兰州 银川 西宁 拉萨 宁波 无锡 温州 东莞 佛山 珠海 三亚 桂林 洛阳 开封
呼和浩特 乌鲁木齐 香港 澳门 台北 东京 巴黎 伦敦 柏林 纽约 洛杉矶 悉尼 莫斯科 首尔 曼谷 新加坡""".split()

NOUNS_EN = """lamp chair desk mug kettle phone laptop tablet headphones keyboard mouse monitor camera printer router
charger cable speaker watch bottle backpack jacket shirt shoes blanket pillow toaster blender vacuum fan heater umbrella
notebook pen scarf gloves tent bike helmet guitar drill hammer sofa mattress mirror clock wallet tea coffee rice
chocolate soap candle toy puzzle book battery filter hose rug towel""".split()
KINDS_EN = """red blue green black white small large wireless steel wooden leather cotton electric desk travel
portable smart garden kitchen""".split()

NOUNS_ZH = """台灯 椅子 书桌 杯子 水壶 手机 电脑 平板 耳机 键盘 鼠标 显示器 相机 打印机 路由器 充电器 数据线 音箱 手表 水杯
背包 外套 衬衫 鞋子 毛毯 枕头 烤箱 吸尘器 风扇 雨伞 笔记本 钢笔 围巾 手套 帐篷 头盔 吉他 沙发 床垫 镜子 钱包 茶叶 咖啡 大米
巧克力 香皂 蜡烛 玩具 电池 毛巾 苹果 牛奶""".split()
KINDS_ZH = "红色 蓝色 黑色 白色 无线 智能 便携 木质 真皮 纯棉 电动 小号 大号".split()

ONSETS = "b c d f g h j k l m n p r s t v w z br ch cl dr fl gr kl kr pl pr qu sh sk st th tr".split()
VOWELS = "a e i o u a e i o u ai ea ee ia io oo ou y".split()
CODAS = ["", "", "", ""] + "b d g k l m n n p r r s t x ck ld ll nd ng nt rn ss st".split()

# Characters that make up most real names; the rest of GB2312 level 1 is drawn as often as all of these together.
COMMON_ZH = """北京上海广州深圳杭南苏成都重庆武汉西安天津青岛大连厦门长沙郑济昆明合肥福昌阳春家庄太原贵宁口兰银川无锡
温东莞佛山珠三亚桂林洛开封江河湖海城港台新金银红白黑蓝绿高小中云水火木土石龙凤马华国光电机器灯杯椅桌包衣鞋茶米花果
香美乐爱心星月日风雨雪乡镇县平永和泰康达信德丰顺百千万""".replace("\n", "")


def held(text):
    """True for the eighth of all names (and prompts) that training never sees."""
    return zlib.crc32(text.encode()) % 8 == 0


def alphabet():
    """Chinese characters and English words of the templates: tokens that names would seldom or never show.

    The characters that stand around the names in orders and weather questions are left out, for a name that holds
    one could not be told from its surroundings.
    """
    text = "".join(phrases.texts())
    around = "".join(phrases.ORDERS[True] + phrases.WEATHER[True])
    han = sorted({c for c in text if "一" <= c <= "龥" and c not in around})
    words = sorted({w for w in "".join(c if c.isascii() and c.isalpha() else " " for c in text).lower().split()
                    if len(w) > 2})
    return han, words


HAN, WORDS = alphabet()
PLACES = "City Lake Bay Falls Beach Town York Hill Park Island Valley".split()


def invent_en(r, wide=0):
    if wide and r.random() < .35:       # pieces of real words, any letter first
        parts = []
        for _ in range(r.choice((1, 2, 2))):
            word = r.choice(WORDS)
            at = r.randrange(len(word) - 1)
            parts.append(word[at:at + r.choice((2, 3, 4, 5))])
        word = "".join(parts)
    else:
        word = "".join(r.choice(ONSETS) + r.choice(VOWELS) + r.choice(CODAS)
                       for _ in range(r.choice((1, 2, 2, 2, 3))))
    if wide and r.random() < .15:
        word = r.choice("aeiouyxz") + word
    return word.capitalize()


def invent_zh(r, sizes=(2, 2, 2, 3, 3, 4), wide=0):
    def char():
        if wide and r.random() < .4:
            return r.choice(HAN)
        if r.random() < .5:
            return r.choice(COMMON_ZH)
        return bytes((r.randrange(0xB0, 0xD7), r.randrange(0xA1, 0xFF))).decode("gb2312")
    return "".join(char() for _ in range(r.choice(sizes)))


def any_city(r, zh, wide):
    if zh:
        if r.random() < .25:
            return r.choice(CITIES_ZH)
        return invent_zh(r, wide=wide) + r.choice(("", "", "", "市", "县"))
    if r.random() < .25:
        return r.choice(CITIES_EN)
    before = r.choice(("", "", "", "", "", "New ", "Port ", "San "))
    return before + invent_en(r, wide) + (" " + r.choice(PLACES) if wide and r.random() < .15 else "")


def any_product(r, zh, wide):
    form = r.randrange(8)
    if zh:
        noun, kind, name = r.choice(NOUNS_ZH), r.choice(KINDS_ZH), invent_zh(r, wide=wide)
        return (noun, kind + noun, name, name, name + noun, name + noun, invent_zh(r, (3, 4, 5), wide),
                kind + name)[form]
    noun, kind, name = r.choice(NOUNS_EN), r.choice(KINDS_EN), invent_en(r, wide)
    if wide > 1 and r.random() < .3:
        name = name.lower()
    code = r.choice("ABCDEFGHKLMNPQRSTVXZ") + str(r.randrange(1, 1000))
    return (noun, kind + " " + noun, name, name, name + " " + noun, name + " " + noun, name + " " + code,
            kind + " " + name)[form]


def any_person(r, zh, wide):
    return invent_zh(r, (2, 3), wide) if zh else invent_en(r, wide)


MAKERS = {"city": any_city, "product": any_product, "person": any_person}


def draw(kind, r, zh, heldout, wide):
    """A name of that kind from the wanted side of the split. wide = 1: also with letters and characters that real
    names seldom have, so that every token is met in a name; 2: also in small letters."""
    while True:
        name = MAKERS[kind](r, zh, wide)
        if held(name) == heldout:
            return name
