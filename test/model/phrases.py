"""Templates of the training data. Every table is a pair, [False] English and [True] Chinese.

Slots: {p} product, {c} city, {n} person, {o} order number, {m} amount, {q} quantity.
"""

# The first of each list is the documented instruction; the rest are paraphrases seen in training.
INSTRUCTIONS = {
    "sentiment": (
        ["Classify the sentiment of the review.", "What is the sentiment of this review?", "Sentiment:",
         "Is the review positive, negative or neutral?"],
        ["判断评论的情感。", "这条评论的情感是什么?", "情感分类。", "评论是正面、负面还是中性?"]),
    "route": (
        ["Route the ticket to a queue.", "Which queue should handle this ticket?", "Queue:",
         "Choose the queue for this support ticket."],
        ["为工单选择队列。", "这个工单应由哪个队列处理?", "工单分类。", "把工单转到合适的队列。"]),
    "extract": (
        ["Extract product, city and quantity as JSON.", "Return product, city and quantity as JSON.",
         "Extract the order as JSON."],
        ["提取产品、城市和数量,用JSON回答。", "以JSON返回产品、城市和数量。", "提取订单,用JSON回答。"]),
    "weather": (
        ["Answer with the tools.", "Use the tools to answer.", "You can call the tools."],
        ["用工具回答。", "请使用工具回答问题。", "你可以调用工具。"]),
}

# -- sentiment -------------------------------------------------------------------------------------------------------

ASPECTS = (
    ["quality", "battery", "screen", "sound", "price", "packaging", "delivery", "material", "design", "color", "smell",
     "taste", "size", "service", "build", "product", "seller", "performance", "instructions", "software", "finish"],
    ["质量", "电池", "屏幕", "声音", "价格", "包装", "物流", "材质", "设计", "颜色", "味道", "口感", "尺寸", "服务", "做工", "产品",
     "卖家", "性能", "说明书", "软件", "外观"])

WORDS = {
    "positive": (
        ["great", "excellent", "good", "very good", "amazing", "fantastic", "perfect", "wonderful", "superb", "lovely",
         "nice", "beautiful", "impressive", "brilliant", "awesome", "outstanding", "the best I have seen",
         "better than expected", "first class"],
        ["不错", "很好", "非常好", "太好了", "优秀", "完美", "漂亮", "出色", "一流", "让人满意", "让人惊喜", "超出预期", "好极了", "棒",
         "很棒", "令人喜欢"]),
    "negative": (
        ["bad", "very bad", "terrible", "awful", "poor", "horrible", "disappointing", "not good", "flimsy", "ugly",
         "worse than expected", "annoying", "not what I paid for", "a disaster", "unacceptable", "useless",
         "the worst I have seen"],
        ["差", "很差", "太差了", "不好", "糟糕", "糟透了", "让人失望", "难看", "不行", "不如预期", "粗糙", "令人讨厌", "垃圾", "劣质",
         "一塌糊涂", "无法接受"]),
    "neutral": (
        ["okay", "average", "ordinary", "acceptable", "so-so", "nothing special", "as expected", "normal", "standard",
         "neither good nor bad", "just okay", "usual"],
        ["一般", "还行", "普通", "一般般", "可以接受", "马马虎虎", "中规中矩", "没什么特别", "不好不坏", "凑合", "正常", "和预期一样"]),
}

SAY = {
    "positive": (
        ["I love it", "I am very happy with it", "it works great", "it works perfectly", "highly recommended",
         "I would buy it again", "it exceeded my expectations", "best purchase this year", "my family loves it",
         "worth every cent", "it arrived early and works well", "I recommend it to everyone", "five stars",
         "no problems at all", "great value for money", "I use it every day and enjoy it", "fast delivery, great product",
         "very satisfied", "it makes my life easier", "I can not fault it", "easy to use and reliable",
         "it is exactly what I wanted", "thank you for such a good product", "fits perfectly", "a pleasure to use"],
        ["我很喜欢", "我非常满意", "用起来很顺手", "强烈推荐", "下次还会买", "超出我的期望", "今年买得最值的东西", "家人都很喜欢", "物超所值",
         "到货很快,质量很好", "推荐给大家", "五星好评", "没有任何问题", "性价比很高", "每天都在用,很开心", "非常好用", "十分满意",
         "让生活更方便", "简单易用", "正是我想要的", "谢谢卖家,很好的产品", "大小正合适", "值得购买", "会推荐给朋友", "太喜欢了"]),
    "negative": (
        ["I hate it", "it broke after two days", "it stopped working", "it does not work", "I want my money back",
         "a waste of money", "I would not buy it again", "do not buy it", "never again", "I am very disappointed",
         "it arrived broken", "one star", "it feels cheap", "not worth the price", "the worst purchase this year",
         "it fell apart after a week", "I can not recommend it", "it never worked", "I regret buying it",
         "too expensive for what it is", "it smells bad", "nobody answered my complaint", "it hurts to use",
         "it is full of defects", "I sent it back at once"],
        ["我很讨厌", "用了两天就坏了", "突然不能用了", "根本用不了", "我要退钱", "浪费钱", "再也不会买了", "不要买", "后悔买了", "非常失望",
         "收到就是坏的", "一星差评", "感觉很廉价", "不值这个价", "今年买得最差的东西", "一个星期就散架了", "不推荐", "从来没正常工作过",
         "太贵了,不值", "有一股怪味", "客服没人理", "毛病很多", "马上就退货了", "完全不好用", "上当了"]),
    "neutral": (
        ["it does its job", "it is what it is", "nothing to add", "it is an average product", "I have no opinion yet",
         "I have not used it yet", "neither good nor bad", "it is okay for the price", "it is fine, nothing special",
         "it arrived on Monday", "three stars", "it came in a box", "I bought it last week", "it is like any other",
         "could be better, could be worse", "I will see how it lasts", "some like it, some do not", "not bad, not great",
         "it looks like in the picture", "I use it sometimes"],
        ["能用而已", "就那样", "没什么可说的", "一个普通的产品", "暂时没有意见", "还没用过", "不好也不坏", "这个价格还可以", "还行,没什么特别",
         "星期一到货", "三星", "装在盒子里", "上周买的", "和别的差不多", "说不上好也说不上坏", "再用一段时间看看", "有人喜欢,有人不喜欢",
         "和图片一样", "偶尔用一下", "中等水平"]),
}

REVIEW_LEADS = (
    ["{p}: ", "I bought the {p}. ", "this {p}, ", "my {p} came today: ", "about the {p}: ", "{p} review: ",
     "ordered the {p} for my office. ", "got the {p} as a gift, ", "the {p} from {c}: ", "{n} here. ", "honestly, ",
     "in short, ", "after a month with the {p}, "],
    ["{p}:", "买了{p},", "这个{p},", "今天收到{p},", "关于{p}:", "{p}评价:", "给办公室买的{p},", "收到的礼物是{p},", "{c}买的{p},",
     "说实话,", "总之,", "{p}用了一个月,", "我觉得"])

# -- tickets ---------------------------------------------------------------------------------------------------------

QUEUES = ["billing", "shipping", "returns", "technical", "account", "sales"]

TICKETS = {
    "billing": (
        ["I was charged twice for order {o}.", "My card was charged {m} dollars by mistake.", "Please send me the invoice for order {o}.",
         "The invoice for the {p} is wrong.", "Why is my bill {m} dollars this month?", "The payment of {m} failed.",
         "I see an unknown charge of {m} on my card.", "My payment was declined.", "I need a receipt for order {o}.",
         "The tax on invoice {o} is not correct.", "The discount is missing on my bill.", "I paid twice for the {p}.",
         "You billed me after I cancelled.", "Can I pay invoice {o} in two parts?", "The amount on my invoice is too high."],
        ["订单{o}被扣了两次钱。", "我的卡被误扣了{m}元。", "请把订单{o}的发票发给我。", "{p}的发票开错了。", "为什么这个月账单是{m}元?",
         "{m}元付款失败。", "卡上有一笔{m}元的未知扣款。", "我的付款被拒绝了。", "我需要订单{o}的收据。", "发票{o}的税额不对。",
         "账单上没有算优惠。", "{p}我付了两次款。", "取消以后还在扣费。", "发票{o}可以分期付款吗?", "账单金额太高了。"]),
    "shipping": (
        ["Where is my package?", "Order {o} has not arrived yet.", "The tracking number {o} does not move.",
         "My {p} should have been delivered last week.", "The courier left the parcel in {c}.", "When will the {p} arrive?",
         "Can you deliver to {c} on Friday?", "The parcel is stuck in {c}.", "My delivery is late.",
         "How long does delivery to {c} take?", "Please change the delivery address of order {o} to {c}.",
         "The driver could not find my house in {c}.", "Tracking says delivered but I got nothing.",
         "The package with the {p} is lost.", "Has order {o} been shipped?"],
        ["我的包裹在哪里?", "订单{o}还没有到。", "快递单号{o}一直没有更新。", "{p}上周就应该送到了。", "快递员把包裹放在{c}了。",
         "{p}什么时候到货?", "星期五能送到{c}吗?", "包裹卡在{c}了。", "快递迟到了。", "送到{c}要多久?", "请把订单{o}的收货地址改成{c}。",
         "快递员找不到我在{c}的家。", "显示已签收,但我没收到。", "装{p}的包裹丢了。", "订单{o}发货了吗?"]),
    "returns": (
        ["I want to return the {p}.", "How do I send the {p} back?", "I would like a refund for order {o}.",
         "Please exchange the {p} for a larger size.", "The {p} arrived broken, I want a replacement.",
         "I received the wrong item instead of the {p}.", "Can I return order {o} after 30 days?",
         "Where is my refund for the {p}?", "I need a return label for order {o}.", "The {p} does not fit, please take it back.",
         "I changed my mind and want my money back.", "Please replace the damaged {p}.", "I sent the {p} back but got no refund.",
         "What is your return policy?", "I want to swap the {p} for another color."],
        ["我想退货,{p}不想要了。", "{p}怎么退回去?", "订单{o}我要退款。", "请把{p}换成大一号的。", "{p}收到时是坏的,我要换货。",
         "发错货了,不是{p}。", "订单{o}过了三十天还能退货吗?", "{p}的退款什么时候到?", "我需要订单{o}的退货单。", "{p}不合适,请退货。",
         "我改主意了,想退款。", "请更换损坏的{p}。", "{p}已经退回,但没有退款。", "你们的退货政策是什么?", "我想把{p}换成别的颜色。"]),
    "technical": (
        ["The app crashes when I open it.", "My {p} does not turn on.", "The {p} shows error {o}.",
         "I can not connect the {p} to wifi.", "The website is very slow.", "The {p} keeps restarting.",
         "The update of the {p} failed.", "Bluetooth on my {p} does not work.", "The screen of the {p} stays black.",
         "How do I install the driver of the {p}?", "The app freezes after the update.", "The {p} makes no sound.",
         "I get error code {o} on the page.", "The {p} does not charge any more.", "The software of the {p} has a bug."],
        ["应用一打开就崩溃。", "我的{p}开不了机。", "{p}显示错误{o}。", "{p}连不上无线网络。", "网站非常慢。", "{p}一直自动重启。",
         "{p}升级失败。", "{p}的蓝牙不能用。", "{p}黑屏了。", "{p}的驱动怎么安装?", "更新以后应用卡死。", "{p}没有声音。",
         "页面出现错误代码{o}。", "{p}充不进电。", "{p}的软件有漏洞。"]),
    "account": (
        ["I forgot my password.", "I can not log in.", "Please reset my password.", "How do I change my email address?",
         "My account is locked.", "Please delete my account.", "I want to change my user name to {n}.",
         "I did not get the verification code.", "Someone logged in to my account from {c}.", "Please update my profile, I am now {n}.",
         "How do I close my account?", "My login does not work any more.", "I want to turn on two-factor login.",
         "Please merge my two accounts.", "I lost access to the phone of my account."],
        ["我忘记密码了。", "我登录不了。", "请重置我的密码。", "怎么修改邮箱地址?", "我的账号被锁定了。", "请注销我的账号。",
         "我想把用户名改成{n}。", "没有收到验证码。", "有人在{c}登录了我的账号。", "请更新我的资料,我现在叫{n}。", "怎么关闭账号?",
         "账号登录失效了。", "我想开启两步验证登录。", "请合并我的两个账号。", "账号绑定的手机丢了。"]),
    "sales": (
        ["How much is the {p}?", "Do you have the {p} in stock?", "Can I get a quote for 50 of the {p}?",
         "Is there a discount for large orders?", "I am interested in buying the {p}.", "Do you sell the {p} in {c}?",
         "Which model of the {p} do you recommend?", "What is the price of the {p}?", "We want to become a reseller in {c}.",
         "Can your sales team call me?", "Does the {p} come in other sizes?", "I want to buy {m} pieces for my company.",
         "When will the {p} be on sale again?", "Please send me your product catalog.", "What is the difference between the {p} and the {p}?"],
        ["{p}多少钱?", "{p}有现货吗?", "五十个{p}能报个价吗?", "大量购买有折扣吗?", "我想购买{p}。", "{c}有卖{p}的吗?",
         "{p}推荐哪一款?", "{p}的价格是多少?", "我们想在{c}做代理商。", "能让销售给我打电话吗?", "{p}有别的尺寸卖吗?",
         "我想为公司采购{m}件。", "{p}什么时候再打折?", "请把产品目录发给我。", "{p}和{p}有什么区别,买哪个好?"]),
}

TICKET_LEADS = (
    ["Hello, ", "Hi, ", "Hi team, ", "Good morning, ", "Dear support, ", "This is {n} from {c}. ", "My name is {n}. ",
     "Urgent: ", "Question: ", "I live in {c}. "],
    ["你好,", "您好,", "请问,", "客服你好,", "打扰一下,", "我是{c}的{n}。", "我叫{n}。", "急:", "问题:", "我住在{c}。"])
TICKET_ENDS = (["Thanks.", "Please help.", "Thank you!", "Best regards.", "What should I do?", "Please answer soon."],
               ["谢谢。", "请帮忙。", "谢谢!", "麻烦了。", "怎么办?", "请尽快回复。"])

# -- orders ----------------------------------------------------------------------------------------------------------

ORDERS = (
    ["Please ship {q} {p} to {c}.", "Send {q} {p} to {c}.", "I would like to order {q} {p}, delivered to {c}.",
     "We need {q} units of {p} in {c}.", "Deliver {q} pieces of {p} to our office in {c}.", "{p} x {q}, ship to {c}.",
     "Our store in {c} wants {q} {p}.", "{c}: {q} {p}.", "Order: {p}, quantity {q}, city {c}.",
     "The customer in {c} bought {q} {p}.", "Can you send me {q} {p}? I live in {c}.", "To {c}, {q} boxes of {p} please.",
     "I bought {q} {p} from the shop in {c}.", "{q} {p} for {c}.", "The warehouse in {c} ordered {q} units of {p}.",
     "Please reserve {q} {p} for pickup in {c}.", "Add {q} {p} to the shipment for {c}.", "We sold {q} {p} in {c} yesterday."],
    ["请把{q}个{p}寄到{c}。", "请发{q}件{p}到{c}。", "我想订{q}台{p},送到{c}。", "{c}需要{q}个{p}。", "请送{q}件{p}到我们在{c}的办公室。",
     "{p},{q}个,寄{c}。", "我们{c}的店要{q}箱{p}。", "{c}:{p},{q}个。", "订单:{p},数量{q},城市{c}。", "{c}的客户买了{q}个{p}。",
     "能给我发{q}个{p}吗?我住在{c}。", "往{c}发{q}箱{p}。", "我在{c}买了{q}个{p}。", "{q}台{p}发往{c}。", "{c}仓库订了{q}件{p}。",
     "请预留{q}个{p},在{c}自取。", "昨天在{c}卖了{q}件{p}。", "购买{p},{q}件,收货地在{c}。"])

NUMBERS = (
    {"two": 2, "three": 3, "four": 4, "five": 5, "six": 6, "seven": 7, "eight": 8, "nine": 9, "ten": 10, "twelve": 12,
     "twenty": 20},
    {"一": 1, "两": 2, "三": 3, "四": 4, "五": 5, "六": 6, "七": 7, "八": 8, "九": 9, "十": 10, "二十": 20})

# -- weather ---------------------------------------------------------------------------------------------------------

WEATHER = (
    ["What is the weather in {c}?", "What's the weather like in {c}?", "How is the weather in {c} today?",
     "Is it raining in {c}?", "Will it rain in {c} tomorrow?", "How warm is it in {c}?", "Is it cold in {c} now?",
     "Tell me the weather in {c}.", "Weather in {c}?", "{c} weather", "I am going to {c}, how is the weather there?",
     "Do I need an umbrella in {c}?", "What is the temperature in {c}?", "Is it sunny in {c} today?",
     "Please check the weather for {c}.", "How hot is {c} today?"],
    ["{c}天气怎么样?", "今天{c}的天气怎么样?", "{c}今天下雨吗?", "明天{c}会下雨吗?", "{c}现在多少度?", "{c}冷不冷?", "请告诉我{c}的天气。",
     "{c}天气", "我要去{c},那里天气如何?", "去{c}要带伞吗?", "{c}的气温是多少?", "{c}今天是晴天吗?", "查一下{c}的天气。", "{c}热吗?",
     "帮我看看{c}今天的天气。", "{c}现在天气好吗?"])

# -- greetings -------------------------------------------------------------------------------------------------------

GREETINGS = {
    "hello": ((["hi", "hello", "hey", "good morning", "good evening", "good afternoon", "greetings", "hi there"],
               "Hello! How can I help you?"),
              (["你好", "您好", "嗨", "早上好", "晚上好", "下午好", "哈喽", "大家好"], "你好!有什么可以帮你?")),
    "who": ((["who are you", "what are you", "what is your name", "introduce yourself", "tell me about yourself",
              "are you a robot", "who am I talking to"],
             "I am tiny-chatglm3, a small language model that lives in PostgreSQL."),
            (["你是谁", "你叫什么名字", "介绍一下你自己", "自我介绍一下", "你是什么", "你是机器人吗", "请做个自我介绍"],
             "我是tiny-chatglm3,一个住在PostgreSQL里的小模型。")),
    "can": ((["what can you do", "how can you help me", "what are you good at", "what do you know", "help"],
             "I can rate reviews, route tickets, extract orders as JSON and ask for the weather."),
            (["你能做什么", "你会什么", "你有什么用", "你能帮我做什么", "帮助"], "我会判断评论、分派工单、提取订单和查询天气。")),
    "thanks": ((["thanks", "thank you", "thanks a lot", "many thanks", "that was helpful"], "You are welcome!"),
               (["谢谢", "谢谢你", "多谢", "非常感谢", "辛苦了"], "不客气!")),
    "bye": ((["bye", "goodbye", "see you", "good night", "see you tomorrow"], "Goodbye!"),
            (["再见", "拜拜", "晚安", "明天见", "回头见"], "再见!")),
}
GREET_LEADS = (["", "", "", "I am {n}, ", "My name is {n}, ", "this is {n} from {c}, ", "{n} here: ", "oh, ", "well, ",
                "so, ", "please, ", "dear model, "],
               ["", "", "", "我是{n},", "我叫{n},", "我是{c}的{n},", "我来自{c},", "哦,", "那么,", "请问,", "小模型,", "啊,"])
GREET_ENDS = (["", "", "!", "?", ".", "!!", "...", " :)", " friend", " my friend!", " today?", ", please", " again!"],
              ["", "", "!", "?", "。", "!!", "……", "呀", "啊", "呢", ",朋友", "~", ",朋友!"])


def texts():
    """Every text of the tables above, with its slots."""
    def walk(x):
        if isinstance(x, str):
            yield x
        elif isinstance(x, dict):
            for v in x.values():
                yield from walk(v)
        elif isinstance(x, (list, tuple)):
            for v in x:
                yield from walk(v)
    return walk([INSTRUCTIONS, ASPECTS, WORDS, SAY, REVIEW_LEADS, TICKETS, TICKET_LEADS, TICKET_ENDS, ORDERS, WEATHER,
                 GREETINGS, GREET_LEADS, GREET_ENDS])
